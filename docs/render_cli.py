"""Render the commands of docs/reference/commands.md from the tree that click holds: usage, options, defaults, meanings."""

from collections.abc import Iterator

import click

from orchestrator.interfaces.cli.lazy import COMMANDS
from orchestrator.interfaces.cli.main import cli

#: They are told once, in the prose of cli.md.
COMMON = frozenset({"help", "form", "actor"})


def render_commands() -> str:
    """Return a table for each section of `baton --help`."""
    return "\n\n".join(
        "\n".join(
            [
                f"## {title}",
                "",
                "| command | what it does | options |",
                "| --- | --- | --- |",
                *(_row(path, one) for name in section for path, one in _walk((name,), _find(name))),
            ]
        )
        for title, section in COMMANDS.items()
    )


def _find(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    if command is None:
        raise ValueError(f"command {name!r}: the table names it, and there is none")
    return command


def _walk(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _walk((*path, name), inner)
    else:
        yield path, command


def _row(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=path[-1])
    arguments = [one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join(("baton", *path, *arguments))
    about = " ".join(" ".join(text.split()) for text in (command.help, command.epilog) if text)
    options = [
        _option(one, context) for one in command.params if isinstance(one, click.Option) and one.name not in COMMON
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{usage}`", about, "<br>".join(options))) + " |"


def _option(option: click.Option, context: click.Context) -> str:
    name, meaning = option.get_help_record(context) or ("", "")
    return f"`{name.replace('INTEGER RANGE', 'N')}` {' '.join(meaning.split())}".strip()
