"""The tree of commands: the lazy table tells the truth, every command has its help, and starts light."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from orchestrator.interfaces.cli.lazy import COMMANDS
from orchestrator.interfaces.cli.main import cli, main

ROOT = Path(__file__).resolve().parents[4]
NAMES = [name for section in COMMANDS.values() for name in section]


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below this one with its path."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield (*path, name), found
            yield from walk(found, (*path, name))


TREE = dict(walk(cli, ()))


@pytest.mark.parametrize("name", NAMES)
def test_the_table_says_what_the_command_says(name: str) -> None:
    """`baton --help` imports no command, so its sentences are kept equal here."""
    sentence = next(section[name][1] for section in COMMANDS.values() if name in section)
    command = TREE[(name,)]

    assert command.name == name
    assert (command.help or "").split("\n\n")[0].replace("\n", " ") == sentence


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Also where nothing is installed and no server runs."""
    code = main([*path, "--help"])

    out = capsys.readouterr().out
    assert code == 0
    assert out.startswith(f"Usage: baton {' '.join(path)} ")


#: They become another process, go on printing, speak a protocol, or print a schema: there is no one object to print.
WITHOUT_JSON = {("worker",), ("scheduler",), ("stub-llm",), ("mcp",), ("apps", "schema")} | {
    ("plugins", name) for name in ("run", "doctor", "attack")
}


def test_every_command_that_prints_has_json() -> None:
    """A command that only people can read cannot be built upon."""
    leaves = {path: command for path, command in TREE.items() if not isinstance(command, click.Group)}
    without = {path for path, command in leaves.items() if "form" not in {one.name for one in command.params}}

    assert without == WITHOUT_JSON


def test_what_changes_a_session_names_its_actor() -> None:
    """Everything that changes a session has an actor (invariant 10)."""
    changing = [
        ("submit",),
        ("approve",),
        ("deny",),
        ("answer",),
        ("signal",),
        ("cancel",),
        ("retry",),
        ("dead", "replay"),
    ]

    assert [path for path in changing if "actor" not in {one.name for one in TREE[path].params}] == []


def test_the_bare_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It is what a new user types first, and no error."""
    assert main([]) == 0
    assert "Start with `baton demo`" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["show", "--help"], ["demo", "--help"]], ids=" ".join)
def test_help_loads_neither_the_store_nor_tables(args: list[str]) -> None:
    """Help that takes a second is not read."""
    code = (
        "import sys\nfrom orchestrator.interfaces.cli.main import main\n"
        f"assert main({args!r}) == 0\n"
        "print('LOADED', *sorted({'celery', 'fastmcp', 'starlette', 'redis', 'hiredis', 'rich', 'pydantic', 'workers'}"
        " & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].removeprefix("LOADED").split() in ([], ["pydantic"])
