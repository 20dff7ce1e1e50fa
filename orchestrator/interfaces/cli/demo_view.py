"""What the demo shows while it runs, and its tables at the end.

A line for each thing that happened stays; on a terminal a live line below says what goes on now. The tables say of
each session what it decided and why: the app's status, the terminal rule, the call that met it, the fields; and of each plugin
what it did.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click
from pydantic import JsonValue
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import Entry, Record
from orchestrator.interfaces.cli.demo_plugins import make_plugin_table
from orchestrator.interfaces.cli.explain import describe_rule
from orchestrator.interfaces.cli.output import clean, compact, is_terminal, make_console, one_line
from orchestrator.interfaces.cli.wording import KIND_STYLES, describe_where

if TYPE_CHECKING:
    from rich.table import Table

#: Sessions at work that the live view names.
SHOWN: Final = 6
#: How wide the tables are where no terminal says.
PLAIN_WIDTH: Final = 140
BAR: Final = 24


@dataclass(slots=True)
class Shown:
    """One submitted session, as the demo knows it."""

    spec: AppSpec
    session_id: str
    title: str
    record: Record | None = None
    settled: Entry | None = None
    runs: list[JsonObject] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether it goes no further."""
        return self.record is not None and self.record.phase in {"ended", "dead"}


@dataclass(slots=True)
class View:
    """The lines, and the live part below them."""

    is_quiet: bool = False
    sessions: list[Shown] = field(default_factory=list)
    _live: Live | None = None

    def say(self, line: str, style: str = "") -> None:
        """Print a line that stays."""
        if self.is_quiet:
            return
        if self._live is not None:
            self._live.console.print(Text(clean(line), style))
        elif style:
            make_console().print(Text(clean(line), style))
        else:
            click.echo(clean(line))

    def begin(self) -> None:
        """Start the live part, where somebody looks."""
        if self._live is None and not self.is_quiet and is_terminal():
            self._live = Live(console=make_console(), auto_refresh=False, transient=True)
            self._live.start()

    def end(self) -> None:
        """Take the live part away; lines go on."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def refresh(self) -> None:
        """Draw the live part anew."""
        if self._live is None:
            return
        lines: list[Text] = []
        for spec in dict.fromkeys(one.spec.name for one in self.sessions):
            of_app = [one for one in self.sessions if one.spec.name == spec]
            over = sum(one.is_over for one in of_app)
            filled = round(BAR * over / len(of_app))
            lines.append(
                Text.assemble(
                    (f"  {spec:<24} ", "bold"),
                    ("━" * filled, "green"),
                    ("━" * (BAR - filled), "dim"),
                    f" {over}/{len(of_app)}",
                )
            )
        at_work = [one.record for one in self.sessions if one.record is not None and not one.is_over]
        lines += [
            Text(one_line(f"{record.session_id}  {describe_where(record)}", 110), "dim") for record in at_work[:SHOWN]
        ]
        self._live.update(Group(*lines), refresh=True)

    def tell_over(self, one: Shown) -> None:
        """Print the line of a session that has ended."""
        record = one.record
        if record is None or self.is_quiet:
            return
        word, style = status_of(one)
        console = self._live.console if self._live is not None else make_console()
        room = max(min(console.width, 120) - len(one.session_id) - 24, 20)
        console.print(Text.assemble(f"  {one.session_id}  ", (f"{word:<18}", style), f" {one_line(one.title, room)}"))


def status_of(one: Shown) -> tuple[str, str]:
    """Return a session's status, or phase, and its colour."""
    record = one.record
    if record is None:
        return "unknown", "red"
    if record.phase != "ended":
        return record.phase, "bold red"
    status = one.spec.statuses.get(record.status or "")
    return record.status or "ended", KIND_STYLES.get(status.kind, "") if status is not None else ""


def explain(one: Shown) -> str:
    """Return why a session ended as it did: the rule and its call, or what else settled it."""
    record, settled = one.record, one.settled
    if record is None:
        return "it was not seen again"
    if settled is None or record.phase != "ended":
        return describe_where(record)
    rule = settled.data.get("rule")
    if settled.data.get("reason") == "rule" and isinstance(rule, int):
        return f"by rule {rule + 1}: {describe_rule(settled.data.get('rule_text'))}"
    stop = settled.data.get("stop_reason")
    default = record.fields.get("needs_review_reason")
    return one_line(str(stop or default or record.reason or "no rule was met"), 160)


def describe_fields(fields: JsonObject) -> str:
    """Return what a session found, as its app's rules extracted it.

    >>> describe_fields({"summary": "fine", "copy": "fine", "count": 2})
    'summary: fine · count: 2'
    """
    told: dict[str, JsonValue] = {}
    for name, value in fields.items():
        if value not in told.values():  # a mirror says the same under another name
            told[name] = value
    return " · ".join(
        f"{one_line(name, 40)}: {one_line(value, 400) if isinstance(value, str) else compact(value, 400)}"
        for name, value in told.items()
    )


def print_tables(sessions: Sequence[Shown]) -> None:
    """Print a table for each app: what each session decided, how long it took, and why."""
    from rich.table import Table

    console = make_console(width=None if is_terminal() else PLAIN_WIDTH)
    for name in dict.fromkeys(one.spec.name for one in sessions):
        of_app = [one for one in sessions if one.spec.name == name]
        click.echo()
        console.print(Text.assemble((name, "bold"), f"  {one_line(of_app[0].spec.description, 100)}"))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("SESSION", no_wrap=True)
        table.add_column("DECIDED", no_wrap=True)
        table.add_column("TOOK", no_wrap=True, justify="right")
        table.add_column("SUBMITTED · because · found", overflow="fold", ratio=1)
        for one in of_app:
            word, style = status_of(one)
            fields = one.record.fields if one.record is not None else {}
            found = describe_fields({key: value for key, value in fields.items() if key != "needs_review_reason"})
            said = [Text(one_line(one.title, 100)), Text(f"{explain(one)}", "dim"), Text(found)]
            table.add_row(one.session_id, Text(word, style), _describe_time(one), Text("\n").join(filter(None, said)))
        _print_plain(table, console)
        if runs := [run for one in of_app for run in one.runs]:
            click.echo()
            _print_plain(make_plugin_table(runs), console)


def _print_plain(table: "Table", console: Console) -> None:
    """Print a table without the spaces at the ends of its lines."""
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _describe_time(one: Shown) -> str:
    """Return the time from a session's submission to its end."""
    if one.record is None or not one.is_over:
        return "-"
    return f"{(one.record.since_at - one.record.created_at) / 1000:.1f} s"


def describe_totals(sessions: Sequence[Shown]) -> str:
    """Return how many sessions came to which end.

    >>> describe_totals([])
    '0 sessions'
    """
    words = Counter(status_of(one)[0] for one in sessions)
    told = ", ".join(f"{count} {word}" for word, count in words.most_common())
    total = f"{len(sessions)} session{'s' if len(sessions) != 1 else ''}"
    return f"{total}: {told}" if told else total
