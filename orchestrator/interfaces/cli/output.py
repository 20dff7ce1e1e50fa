"""How a command prints: one JSON object for programs, tables for people, plain lines off a terminal.

What sessions hold was written by models and tools: control characters in it never reach the terminal.
"""

import codecs
import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_CONTROL: Final = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")
#: JSON escapes what ASCII calls control characters, and leaves those that came after it.
_LATE_CONTROL: Final = {code: f"\\u{code:04x}" for code in range(127, 160)}
#: Off a terminal nothing is wrapped: a line of a table stays one line for grep and awk.
_ENDLESS: Final = 100_000
#: Between two columns, in characters; and what is left at least of one that is cut.
_GAP: Final = 2
LEAST_CUT: Final = 20


def asks_json(args: Sequence[str]) -> bool:
    """Say whether the arguments ask for JSON, even where they could not be parsed.

    >>> asks_json(["list", "-o", "json"]), asks_json(["list", "--output=json"]), asks_json(["list", "json"])
    (True, True, False)
    """
    pairs = list(pairwise(args))
    joined = {"-ojson", "-o=json", "--output=json"}
    return bool(joined & set(args)) or any(pair in {("-o", "json"), ("--output", "json")} for pair in pairs)


def print_json(key: str, value: object, *, as_line: bool = False) -> None:
    """Print one object with one key that names what it holds; `as_line` where many follow each other.

    Where standard output is not UTF-8 it is ASCII: JSON can write every character so, and nothing is lost.
    """
    has_all = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps({key: value}, ensure_ascii=not has_all, indent=None if as_line else 2)
    click.echo(text.translate(_LATE_CONTROL))


def drop_output() -> None:
    """Send what is left of standard output nowhere: neither we nor the interpreter may stumble over it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def clean(text: str) -> str:
    """Return a text without control characters; its lines stay.

    >>> clean("a\\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    return text.translate(_CONTROL)


def one_line(text: str, limit: int = 100) -> str:
    """Return a text as one line of at most so many characters.

    >>> one_line("a  b\\nc", 4)
    'a b…'
    """
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1].rstrip()}…"


def many(number: int, what: str, plural: str = "") -> str:
    """Return how many there are of something, in words.

    >>> many(1, "worker"), many(0, "worker"), many(2, "entry", "entries")
    ('1 worker', '0 workers', '2 entries')
    """
    return f"{number} {what if number == 1 else plural or what + 's'}"


def compact(value: object, limit: int = 200) -> str:
    """Return plain data as one short line of JSON."""
    return one_line(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), limit)


def is_terminal() -> bool:
    """Say whether a person looks at standard output and a live view makes sense there."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def is_coloured() -> bool:
    """Say whether standard output may be coloured: a terminal, and no NO_COLOR."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def make_console(*, stderr: bool = False, width: int | None = None) -> "Console":
    """Return a console that takes every text as it is: no markup, no emoji, no highlighting."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=not is_coloured(),
        width=width or (None if stream.isatty() else _ENDLESS),
    )


def make_table(*columns: str, wraps: Sequence[str] = (), cuts: Sequence[str] = ()) -> "Table":
    """Return an empty table; on a terminal the columns named in `wraps` or `cuts` give way, the others stay whole.

    Where neither is named, the last column is cut: an id that cannot be copied would be of no use.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    given = cuts or (() if wraps else columns[-1:])
    for name in columns:
        wrapped = name in wraps
        # A limit that no text reaches marks a column that may be cut, for `fit_table`.
        limit = _ENDLESS if name in given and not wrapped else None
        table.add_column(name, no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis", max_width=limit)
    return table


def fit_table(table: "Table", console: "Console", *, least: int = LEAST_CUT) -> int:
    """Cut what may be cut, to `least` characters at worst, until a row is no wider than the console; return its width."""
    endless = console.options.update(width=_ENDLESS)
    widths = [
        max((console.measure(cell, options=endless).maximum for cell in (column.header, *column.cells)), default=0)
        for column in table.columns
    ]
    left = sum(widths) + _GAP * (len(widths) - 1) - console.width
    cut = [number for number, column in enumerate(table.columns) if column.max_width is not None]
    # The widest gives way first, until it is as wide as the next: neither is left with nothing.
    while left > 0 and (wide := [number for number in cut if widths[number] > least]):
        widths[max(wide, key=lambda number: widths[number])] -= 1
        left -= 1
    for number in cut:
        table.columns[number].max_width = widths[number]
    is_wrapping = any(not column.no_wrap for column in table.columns)
    return console.width if is_wrapping else console.width + max(left, 0)


def print_table(table: "Table", *, empty: str = "none") -> None:
    """Print a table, or one word where it has no rows."""
    if table.row_count:
        print_plainly(table)
    else:
        click.echo(empty)


def print_plainly(table: "Table") -> None:
    """Print a table without the blanks that pad its last column.

    On a terminal that is too narrow for its ids and words a row is longer than a line: the terminal wraps it, and nothing is lost.
    """
    console = make_console()
    if console.is_terminal:
        console = make_console(width=fit_table(table, console))
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
