"""`baton config show`: every setting with its value, and where it came from. Passwords are masked."""

import click

from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import compact, make_table, print_json, print_table


@click.group("config")
def config_command() -> None:
    """Show the settings and where they come from."""


@config_command.command("show")
@click.argument("prefix", required=False, default="")
@click.option("--origin", is_flag=True, help="Also the file and line, or the variable, that gave each value.")
@output_option
def show_command(*, prefix: str, origin: bool, form: Form) -> int:
    """Print the settings; PREFIX chooses some, e.g. `scheduler`."""
    from orchestrator.contracts.errors import InputError, suggest
    from orchestrator.settings import explain_settings

    every = explain_settings()
    chosen = [one for one in every if one.path == prefix or one.path.startswith(f"{prefix}." if prefix else "")]
    if not chosen:
        sections = {one.path.split(".")[0] for one in every}
        raise InputError(f"config show {prefix!r}: no such setting; {suggest(prefix, sections)}")
    if form == "json":
        print_json("settings", [{"path": one.path, "value": one.value, "origin": one.origin} for one in chosen])
        return OK
    columns = ("SETTING", "VALUE", "ORIGIN") if origin else ("SETTING", "VALUE")
    table = make_table(*columns, cuts=("VALUE",))
    for one in chosen:
        table.add_row(one.path, compact(one.value), *((one.origin,) if origin else ()))
    print_table(table)
    return OK
