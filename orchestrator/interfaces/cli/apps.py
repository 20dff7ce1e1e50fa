"""`baton apps`: list, check and make apps, and print the schemas for editors."""

from pathlib import Path
from typing import Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import AppInvalid, InputError
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.lazy import WholeGroup
from orchestrator.interfaces.cli.options import Form, dry_run_option, output_option
from orchestrator.interfaces.cli.output import make_table, one_line, print_json, print_table

#: All apps together, servers that are started for it among them.
REPORT_SECONDS: Final = 120.0


@click.group("apps", cls=WholeGroup)
def apps_command() -> None:
    """List, check and make apps."""


@apps_command.command("list")
@output_option
def list_command(*, form: Form) -> int:
    """List the installed apps: those of BATON_APPS_PATH, and those that come with Baton."""
    from orchestrator.interfaces.cli.connect import load_specs
    from orchestrator.interfaces.cli.shapes import app_shape

    specs = load_specs()
    if form == "json":
        print_json("apps", [app_shape(spec) for spec in specs.values()])
        return OK
    table = make_table("APP", "VERSION", "PREFIX", "SKILLS", "PROVIDER", "DESCRIPTION")
    for spec in specs.values():
        about = (spec.session_id_prefix, str(len(spec.skills)), spec.model.provider)
        table.add_row(spec.name, spec.version, *about, one_line(spec.description, 100))
    print_table(table, empty="no apps; see `baton apps new --help`")
    return OK


@apps_command.command("check")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@output_option
def check_command(*, paths: tuple[Path, ...], form: Form) -> int:
    """Check apps: PATH is an app's folder or a folder of them. Without PATH, the installed ones.

    Each problem is a line `file:line:col: path: message`; all are told at once. Where the files hold together, the
    servers are asked for their tools, as a worker asks them: a rule or a gate for a tool that is not there is told, too.
    """
    from orchestrator.app_loader import find_apps, load_app, load_apps
    from orchestrator.installed import app_paths
    from orchestrator.interfaces.cli.connect import app_code_prints_elsewhere, settings

    plugins = settings().apps.plugins

    for path in paths:
        if not path.is_dir():
            raise InputError(f"apps check: {path} is no folder; name an app's folder, or a folder of them")
    places = list(paths) or app_paths(settings())
    folders = find_apps(places)
    if not folders:
        raise InputError(f"apps check: no app.yaml in {', '.join(map(str, places))}; name an app's folder")
    rows: list[JsonObject] = []
    for folder in folders:
        problems: tuple[str, ...] = ()
        name = folder.name
        try:
            with app_code_prints_elsewhere():
                name = load_app(folder, plugins=plugins).name
        except AppInvalid as error:
            name, problems = error.app, error.problems
        rows.append({"app": name, "folder": str(folder), "ok": not problems, "problems": list(problems), "notes": []})
    rows = _ask_as_a_worker(rows)
    if all(row["ok"] for row in rows) and len(folders) > 1:
        try:
            with app_code_prints_elsewhere():
                load_apps(places, plugins=plugins)
        except AppInvalid as error:  # each is right by itself, and two have a name or prefix in common
            rows.append({"app": error.app, "folder": "", "ok": False, "problems": list(error.problems), "notes": []})
    if form == "json":
        print_json("checked", list(rows))
    for row in rows if form == "table" else ():
        told, notes = row["problems"], row["notes"]
        for line in told if isinstance(told, list) else ():
            click.echo(line)
        if row["ok"]:
            click.echo(f"{row['app']}: ok ({row['folder']})")
        for line in notes if isinstance(notes, list) else ():
            click.echo(f"  note: {line}")
    return OK if all(row["ok"] for row in rows) else FAILED


def _ask_as_a_worker(rows: list[JsonObject]) -> list[JsonObject]:
    """Return the rows with what only the apps' servers and the installed providers tell, of those whose files are right."""
    from orchestrator.interfaces.cli.modules import ask_module

    folders = [Path(str(row["folder"])) for row in rows if row["ok"]]
    if not folders:
        return rows
    told = ask_module(
        "workers.app_report", folders, where="apps check", seconds=REPORT_SECONDS, advice="name fewer folders"
    )
    found = {str(one["folder"]): one for one in told}
    return [
        {**row, "ok": not found[where]["problems"], **{name: found[where][name] for name in ("problems", "notes")}}
        if (where := str(row["folder"])) in found
        else row
        for row in rows
    ]


@apps_command.command("schema")
@click.argument("name", required=False, type=click.Choice(["app", "skill", "runtime"]), default="app")
@click.option("--write", type=click.Path(path_type=Path, file_okay=False), help="Write all of them into this folder.")
def schema_command(*, name: str, write: Path | None) -> int:
    """Print the JSON Schema of app.yaml, of a skill's config.yaml, or of the settings' files."""
    from orchestrator.app_schema import render_schema, schema_files, write_schemas

    if write is not None:
        for path in write_schemas(write):
            click.echo(str(path))
        return OK
    click.echo(render_schema(schema_files()[f"{name}.schema.json"]), nl=False)
    return OK


@apps_command.command("new")
@click.argument("name")
@click.option("--path", type=click.Path(path_type=Path), help="Its folder. Default: ./NAME.")
@dry_run_option
@output_option
def new_command(*, name: str, path: Path | None, dry_run: bool, form: Form) -> int:
    """Make a small app that works at once."""
    from orchestrator.app_scaffold import create_app

    folder = path or Path(name)
    files = create_app(folder, name, dry_run=dry_run)
    if form == "json":
        told = [str(file) for file in files]
        print_json("created", {"app": name, "folder": str(folder.resolve()), "files": told, "dry_run": dry_run})
        return OK
    for file in files:
        click.echo(f"{file}{': would be written' if dry_run else ''}")
    if dry_run:
        return OK
    click.echo(f"\nnext: read {folder / 'README.md'}, then")
    click.echo(f"  baton apps check {folder}")
    click.echo(f"  BATON_APPS_PATH={folder.resolve().parent} baton up")
    return OK
