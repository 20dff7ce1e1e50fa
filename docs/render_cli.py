"""Render the commands of docs/reference/cli.md from the tree that click holds: usage, options, defaults, meanings."""

from collections.abc import Iterator

import click

from orchestrator.interfaces.cli.lazy import COMMANDS
from orchestrator.interfaces.cli.main import cli

#: Every command has it; it is told once, in the page's prose.
COMMON = frozenset({"help", "form", "actor"})


def render_commands() -> str:
    """Return every command, section by section."""
    parts = []
    for title, section in COMMANDS.items():
        parts.append(f"### {title}")
        for name in section:
            command = cli.get_command(click.Context(cli), name)
            if command is None:
                raise ValueError(f"command {name!r}: the table names it, and there is none")
            parts += [_render(path, one) for path, one in _walk((name,), command)]
    return "\n\n".join(parts)


def _walk(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _walk((*path, name), inner)
    else:
        yield path, command


def _render(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=path[-1])
    arguments = [one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)]
    marks = ["-o" if one.name == "form" else "--as" for one in command.params if one.name in {"form", "actor"}]
    usage = " ".join(("baton", *path, *arguments))
    about = [" ".join(text.split()) for text in (command.help or "", command.epilog or "") if text]
    takes = f" ({', '.join(f'`{mark}`' for mark in sorted(marks, reverse=True))})" if marks else ""
    lines = [f"#### `{usage}`", "", " ".join(about) + takes]
    options = [one for one in command.params if isinstance(one, click.Option) and one.name not in COMMON]
    if options:
        lines += ["", "| option | meaning |", "| --- | --- |"]
        lines += [_row(one, context) for one in options]
    return "\n".join(lines)


def _row(option: click.Option, context: click.Context) -> str:
    name, meaning = option.get_help_record(context) or ("", "")
    name = name.replace("INTEGER RANGE", "N")
    return f"| `{name.replace('|', chr(92) + '|')}` | {' '.join(meaning.split()).replace('|', chr(92) + '|')} |"
