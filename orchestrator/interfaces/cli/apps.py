"""`baton apps`: list, check and make apps, and print the schemas for editors."""

from pathlib import Path

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import AppInvalid, InputError
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import Form, dry_run_option, output_option
from orchestrator.interfaces.cli.output import make_table, one_line, print_json, print_table


@click.group("apps")
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

    Each problem is a line `file:line:col: path: message`; all are told at once.
    """
    from orchestrator.app_loader import find_apps, load_app, load_apps
    from orchestrator.installed import app_paths
    from orchestrator.interfaces.cli.connect import settings

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
            name = load_app(folder).name
        except AppInvalid as error:
            name, problems = error.app, error.problems
        rows.append({"app": name, "folder": str(folder), "ok": not problems, "problems": list(problems)})
    if all(row["ok"] for row in rows) and len(folders) > 1:
        try:
            load_apps(places)
        except AppInvalid as error:  # each is right by itself, and two have a name or prefix in common
            rows.append({"app": error.app, "folder": "", "ok": False, "problems": list(error.problems)})
    if form == "json":
        print_json("checked", list(rows))
    for row in rows if form == "table" else ():
        told = row["problems"]
        for line in told if isinstance(told, list) else ():
            click.echo(line)
        if row["ok"]:
            click.echo(f"{row['app']}: ok ({row['folder']})")
    return OK if all(row["ok"] for row in rows) else FAILED


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
