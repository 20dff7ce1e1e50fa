"""`baton plugins`: list, check, make and run plugins. A plugin is read by a process of its own, and never imported."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.lazy import WholeGroup
from orchestrator.interfaces.cli.options import Form, dry_run_option, output_option
from orchestrator.interfaces.cli.output import make_table, one_line, print_json, print_table

REPORT_SECONDS: Final = 60.0


@click.group("plugins", cls=WholeGroup)
def plugins_command() -> None:
    """List, check, make and run plugins."""


@plugins_command.command("list")
@output_option
def list_command(*, form: Form) -> int:
    """List the plugins of the installed apps, and those of the operator's folder (apps.plugins)."""
    rows = _installed()
    if form == "json":
        print_json("plugins", list(rows))
        return OK
    table = make_table("PLUGIN", "VERSION", "OF", "FILES", "STATE", "DESCRIPTION", cuts=("STATE", "DESCRIPTION"))
    for row in rows:
        files = row.get("files")
        names = " ".join(map(str, files)) if isinstance(files, list) and files else "every file" if row["ok"] else "-"
        state = "accepted" if row["ok"] else f"refused: {row['reason']}"
        about = one_line(str(row.get("description", "")), 80)
        table.add_row(str(row["plugin"]), str(row["version"]), str(row["of"]), names, one_line(state, 120), about)
    print_table(table, empty="no plugins; see `baton plugins new --help`")
    return OK


@plugins_command.command("check")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@output_option
def check_command(*, paths: tuple[Path, ...], form: Form) -> int:
    """Check plugins: PATH is a plugin's folder, a folder of them, or an app's folder. Without PATH, all that are installed.

    Each is accepted, or refused with its reason; nothing of it is run.
    """
    if paths:
        folders = [folder for path in paths for folder in _folders_of(path)]
        if not folders:
            raise InputError(f"plugins check: no manifest.yml in {', '.join(map(str, paths))}; name a plugin's folder")
        rows = _report(folders)
    else:
        rows = _installed()
    for row, other in _doubled(rows):
        row |= {"ok": False, "reason": f"{other['folder']} has the same name {row['plugin']!r}; rename one"}
    if form == "json":
        print_json("checked", list(rows))
    for row in rows if form == "table" else ():
        where = Path(str(row["folder"])) / "manifest.yml"
        click.echo(
            f"{row['plugin']} {row['version']}: ok ({row['folder']})" if row["ok"] else f"{where}: {row['reason']}"
        )
    return OK if all(row["ok"] for row in rows) else FAILED


@plugins_command.command("new")
@click.argument("name")
@click.option("--path", type=click.Path(path_type=Path), help="Its folder. Default: ./NAME.")
@dry_run_option
@output_option
def new_command(*, name: str, path: Path | None, dry_run: bool, form: Form) -> int:
    """Make a small plugin that works at once."""
    from orchestrator.plugin_scaffold import create_plugin

    folder = path or Path(name)
    files = create_plugin(folder, name, dry_run=dry_run)
    if form == "json":
        told = [str(file) for file in files]
        print_json("created", {"plugin": name, "folder": str(folder.resolve()), "files": [*told], "dry_run": dry_run})
        return OK
    for file in files:
        click.echo(f"{file}{': would be written' if dry_run else ''}")
    if dry_run:
        return OK
    click.echo(f"\nnext: baton plugins check {folder}")
    click.echo(f"  baton plugins run {folder} --workspace DIR")
    click.echo("  put it into an app's plugins/ folder, and name it in a skill of kind plugin_pass")
    return OK


@plugins_command.command("run")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--workspace", metavar="DIR", required=True, help="The folder that it works on.")
@click.option(
    "--file", "files", multiple=True, metavar="NAME", help="A file below it. Default: all that the plugin takes."
)
@click.option("--vars", "variables", metavar="JSON", help="Its variables, as an object.")
@click.option("--answers", metavar="JSON", help="Answers to its questions, as an object.")
@click.option("--dry-run", is_flag=True, help="Only describe what it would change.")
@click.option(
    "--tier", type=click.Choice(["strict", "standard"]), help="The least that is accepted, in place of the settings'."
)
def run_command(
    *,
    folder: Path,
    workspace: str,
    files: tuple[str, ...],
    variables: str | None,
    answers: str | None,
    dry_run: bool,
    tier: str | None,
) -> NoReturn:
    """Run one plugin over a folder, in the sandbox and by the limits of the workers' settings (sandbox.yaml).

    What it changed is published. Exit code 0 whatever became of it, 3 where this host lacks a part of the sandbox.
    """
    given = {"--vars": variables, "--answers": answers, "--tier": tier}
    words = [str(folder), f"--workspace={workspace}", *(f"--file={name}" for name in files)]
    words += [f"{name}={value}" for name, value in given.items() if value is not None]
    _become_sandbox("run", [*_settings_file(), *words, *(["--dry-run"] if dry_run else [])])


@plugins_command.command("doctor")
def doctor_command() -> NoReturn:
    """Say which layers of the sandbox this host gives, and what would give the rest."""
    _become_sandbox("doctor", _settings_file())


@plugins_command.command("attack")
@click.option(
    "--only", multiple=True, metavar="NAME", help="This attack alone; repeat it for more. Default: all, some minutes."
)
@click.option("--tier", type=click.Choice(["strict", "standard"]), default="strict", show_default=True)
def attack_command(*, only: tuple[str, ...], tier: str) -> NoReturn:
    """Attack the sandbox of this host, with harmless attacks, and say what it stopped."""
    _become_sandbox("attack", [f"--tier={tier}", *(f"--only={name}" for name in only)])


def _settings_file() -> list[str]:
    """Return the option that names the operator's file, where there is one: what workers read."""
    from orchestrator.settings import find_config_dir

    file = find_config_dir(os.environ) / "sandbox.yaml"
    return [f"--config={file}"] if file.is_file() else []


def _become_sandbox(command: str, words: Sequence[str]) -> NoReturn:
    """Become `python -m plugin_sandbox`, which is found wherever this is."""
    from orchestrator.interfaces.cli.stack import with_import_path

    given = [sys.executable, "-P", "-m", "plugin_sandbox", command, *words]
    os.execve(given[0], given, with_import_path(os.environ))  # noqa: S606 - our own interpreter, our own module


def _installed() -> list[JsonObject]:
    """Return a row for each plugin of the installed apps and of the operator's folder; `of` says whose it is."""
    from orchestrator.app_loader import find_apps
    from orchestrator.app_plugins import PLUGINS_FOLDER
    from orchestrator.installed import app_paths
    from orchestrator.interfaces.cli.connect import settings

    configured = settings()
    places = [(app.name, app / PLUGINS_FOLDER) for app in find_apps(app_paths(configured))]
    if configured.apps.plugins:
        places.append(("operator", Path(configured.apps.plugins).expanduser()))
    found = [(of, folder) for of, place in places for folder in _folders_of(place)]
    rows = _report([folder for _, folder in found])
    return [{**row, "of": of} for (of, _), row in zip(found, rows, strict=True)]


def _folders_of(path: Path) -> list[Path]:
    """Return the plugins' folders that a path means."""
    from orchestrator.app_plugins import MANIFEST, PLUGINS_FOLDER

    if (path / MANIFEST).exists():
        return [path]
    inner = path / PLUGINS_FOLDER if (path / PLUGINS_FOLDER).is_dir() else path
    if not inner.is_dir():
        return []
    return [one for one in sorted(inner.iterdir()) if one.name[0] not in "._" and (one / MANIFEST).exists()]


def _report(folders: Sequence[Path]) -> list[JsonObject]:
    """Ask the process that knows the sandbox's rules; raise ConfigError with what it says."""
    from orchestrator.interfaces.cli.modules import ask_module

    if not folders:
        return []
    return ask_module(
        "workers.plugin_report", folders, where="plugins", seconds=REPORT_SECONDS, advice="name fewer folders"
    )


def _doubled(rows: Sequence[JsonObject]) -> Iterator[tuple[JsonObject, JsonObject]]:
    """Yield each plugin that has its name from another one in the same folder, with that one."""
    for row in rows:
        for other in rows:
            beside = Path(str(row["folder"])).parent == Path(str(other["folder"])).parent
            if row is not other and row["ok"] and other["plugin"] == row["plugin"] and beside:
                yield row, other
                break
