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


#: What changes the store or the archive: each has an actor and a dry run.
CHANGES = {
    *(("submit",), ("approve",), ("deny",), ("answer",), ("resume",), ("signal",), ("cancel",), ("fork",), ("retry",)),
    *(("dead", "replay"), ("pause",), ("unpause",), ("drain",), ("runbook", "run")),
    *(("tokens", "new"), ("tokens", "revoke"), ("archive", "run"), ("archive", "purge")),
    *(("backup", "restore"), ("backup", "mark-restored")),
}
#: What changes this machine alone: a dry run is enough.
CHANGES_HERE = {
    *(("redis", "start"), ("redis", "stop"), ("backup", "make")),
    *(("apps", "new"), ("plugins", "new"), ("plugins", "run")),
}
#: What goes on until it is ended.
PROCESSES = {("up",), ("demo",), ("worker",), ("scheduler",), ("stub-llm",), ("api",), ("mcp",)}
#: What only looks, or computes.
LOOKS = {
    *(("list",), ("show",), ("search",), ("watch",), ("events",), ("context",), ("replay",), ("explain",)),
    *(("dead", "list"), ("dead", "show"), ("queues",), ("workers",), ("scale", "advise"), ("scale", "simulate")),
    *(("tokens", "list"), ("metrics",), ("archive", "status"), ("runbook", "list"), ("runbook", "show"), ("doctor",)),
    *(("redis", "status"), ("apps", "list"), ("apps", "check"), ("apps", "schema"), ("plugins", "list")),
    *(("plugins", "check"), ("plugins", "doctor"), ("plugins", "attack"), ("config", "show"), ("version",)),
}


def test_every_change_names_its_actor_and_can_be_tried_dry() -> None:
    """Everything that changes a session has an actor (invariant 10); and an operator can look before each leap."""
    leaves = {
        path: {one.name for one in found.params} for path, found in TREE.items() if not isinstance(found, click.Group)
    }

    assert set(leaves) == CHANGES | CHANGES_HERE | PROCESSES | LOOKS, "a command that is new belongs to one of these"
    assert {path for path, options in leaves.items() if "dry_run" in options} == CHANGES | CHANGES_HERE
    assert {path for path in CHANGES if "actor" not in leaves[path]} == set()


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


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("baton de", {"demo", "deny", "dead"}), ("baton dead re", {"replay"}), ("baton list --ph", {"--phase"})],
)
def test_a_shell_completes_what_was_begun(
    words: str, wanted: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands, those below them, and their options, although none is imported before it is named."""
    monkeypatch.setenv("_BATON_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))

    with pytest.raises(SystemExit) as ended:
        main([])

    assert ended.value.code == 0
    assert {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()} == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `eval` is given."""
    monkeypatch.setenv("_BATON_COMPLETE", f"{shell}_source")
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None)

    with pytest.raises(SystemExit):
        main([])

    assert f"_BATON_COMPLETE={shell}_complete" in capsys.readouterr().out
