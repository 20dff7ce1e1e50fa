"""Every command that a page or a unit file shows is one that there is, with the options that it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from orchestrator.interfaces.cli.main import cli
from tests.architecture.source_tree import ROOT, list_files, relative

#: `baton VERB …` at the beginning of a line of code, or of a piece of it; what `baton up: …` prints is none.
SHOWN = re.compile(r"(?:^|`|\$ |\()(?:\./)?baton ((?:-\S+ )*[a-z][a-z-]*(?![:\w])[^`\n|#&;<>\"]*)", re.MULTILINE)
#: Done by the launcher `./baton` alone, for work on Baton itself.
OF_THE_LAUNCHER = {"test", "bench", "chaos"}


def find_wrong(line: str) -> str:
    """Return what is wrong with the words behind `baton`; nothing where the command is there."""
    command: click.Command = cli
    words = line.split()
    while words:
        word = words.pop(0).rstrip(".,;:)")
        if word == "--state-dir":
            words = words[1:]
        elif word.startswith("-"):
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
            if word.partition("=")[0] not in known and not command.context_settings.get("ignore_unknown_options"):
                return f"{command.name} has no option {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"{command.name or 'baton'} has no command {word}"
            command = found
    return ""


def list_shown() -> Iterator[tuple[Path, str]]:
    """Yield what stands behind `baton`, on pages and in what is deployed."""
    kinds = frozenset({".md", ".service", ".yaml"})
    pages = [*ROOT.glob("*.md"), *list_files("docs", "apps", "deploy", "bench", "config", kinds=kinds)]
    for page in pages:
        for match in SHOWN.finditer(page.read_text(encoding="utf-8")):
            if match[1].split()[0] not in OF_THE_LAUNCHER:
                yield page, match[1]


def test_every_command_shown_exists() -> None:
    """A stranger types what the page says; a page that is wrong once is not believed again."""
    shown = list(list_shown())

    wrong = [f"{relative(page)}: baton {line}: {why}" for page, line in shown if (why := find_wrong(line))]
    assert wrong == []
    assert len(shown) > 150
