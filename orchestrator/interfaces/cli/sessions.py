"""`baton list` and `baton show`: sessions as they are now."""

from datetime import datetime
from typing import TYPE_CHECKING, get_args

import click

from orchestrator.contracts.errors import InputError, suggest
from orchestrator.contracts.phases import Phase
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, output_option, parse_since, session_argument
from orchestrator.interfaces.cli.output import (
    make_console,
    make_table,
    many,
    one_line,
    print_json,
    print_plainly,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.client import Client
    from orchestrator.contracts.session import Entry, Record
    from orchestrator.search import Unread

#: Journal entries that `show` ends with.
RECENT = 8


@click.command("list")
@click.option("--app", help="Only this app's.")
@click.option("--phase", type=click.Choice(get_args(Phase)), help="Only those in this phase.")
@click.option("--status", help="Only those that ended with this status.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option(
    "--since",
    type=parse_since,
    metavar="TIME",
    help="Only those that came into their phase since then: 15m, 2h, 2026-11-20.",
)
@output_option
def list_command(
    *, app: str | None, phase: Phase | None, status: str | None, limit: int, since: datetime | None, form: Form
) -> int:
    """List sessions, newest first."""
    from orchestrator.interfaces.cli.connect import with_client

    if phase is not None and status is not None and phase != "ended":
        raise InputError(f"options --phase {phase} and --status: only an ended session has one; leave --phase out")
    bucket = f"ended/{status}" if status is not None else phase
    from_ms = int(since.timestamp() * 1000) if since is not None else 0

    found = with_client(lambda client: client.list_sessions(app=app, bucket=bucket, limit=limit))
    records = [one.record for one in found.listed if one.row.since_at >= from_ms]
    unread = [one for one in found.unread if one.row.since_at >= from_ms]
    if not records and not unread:
        check_words(app, status)
    print_list(records, unread, form)
    return OK


def check_words(app: str | None, status: str | None = None) -> None:
    """Raise InputError for a word that no installed app declares: where a list is empty, it may be a mistyped one."""
    from orchestrator.interfaces.cli.connect import load_specs

    specs = load_specs()
    if app is not None and app not in specs:
        raise InputError(f"option --app {app!r}: it has no sessions and is not installed; {suggest(app, specs)}")
    chosen = [specs[app]] if app is not None else specs.values()
    words = {name for spec in chosen for name, one in spec.statuses.items() if one.terminal}
    if status is not None and status not in words:
        raise InputError(f"option --status {status!r}: no app declares it; {suggest(status, words)}")


def print_list(records: "Sequence[Record]", unread: "Sequence[Unread]", form: Form) -> None:
    """Print sessions as `list` does; above them, those that cannot be read, with the reason."""
    from orchestrator.interfaces.cli.shapes import session_line, unread_line
    from orchestrator.interfaces.cli.wording import PHASE_STYLES, describe_age

    if unread:
        told = many(len(unread), "session")
        click.echo(
            f"baton: {told} of these cannot be read here; see `baton doctor` (formats) and `baton show ID`", err=True
        )
    if form == "json":
        lines = [{**session_line(record), "unreadable": None} for record in records]
        print_json("sessions", [*(unread_line(one) for one in unread), *lines])
        return
    from rich.text import Text

    table = make_table("SESSION", "APP", "PHASE", "STATUS", "SKILL", "SINCE", "TEXT")
    for one in unread:
        row, shown = one.row, Text(one.phase, PHASE_STYLES[one.phase])
        why = one_line(f"unreadable: {one.why}", 300)
        table.add_row(row.session_id, row.app, shown, "-", "-", describe_age(row.since_at), why)
    for record in records:
        phase = f"{record.phase} ({record.wait.kind})" if record.phase == "waiting" and record.wait else record.phase
        table.add_row(
            record.session_id,
            record.app,
            Text(phase, PHASE_STYLES[record.phase]),
            one_line(record.status or "-"),
            record.cursor.skill,
            describe_age(record.since_at),
            one_line(record.text, 70),
        )
    print_table(table, empty="no sessions")


@click.command("show")
@session_argument
@output_option
def show_command(*, session_id: str, form: Form) -> int:
    """Show a session: where it is, what it waits for, what it has."""
    from orchestrator.interfaces.cli.connect import with_client

    async def work(client: "Client") -> "tuple[Record, list[Entry]]":
        record = await client.show(session_id)
        return record, [entry async for entry in client.events(session_id, after=max(record.seq - RECENT, 0))]

    record, entries = with_client(work)
    if form == "json":
        from orchestrator.interfaces.cli.shapes import entry_shape, session_shape

        recent = [entry_shape(entry) for entry in entries[-RECENT:]]
        print_json("session", {**session_shape(record), "recent": recent})
    else:
        _print_session(record, entries[-RECENT:])
    return OK


def _print_session(record: "Record", entries: list["Entry"]) -> None:
    from rich.text import Text

    from orchestrator.interfaces.cli import wording

    now = max(record.updated_at, *(entry.at for entry in entries), 0) if record.phase in {"ended", "dead"} else None
    console = make_console()
    table = make_table("", "", wraps=[""])
    table.show_header = False

    def row(name: str, value: str, style: str = "") -> None:
        table.add_row(Text(name, "bold"), Text(value, style))

    row("session", record.session_id)
    row("app", f"{record.app}, version {record.spec}")
    row("text", one_line(record.text, 400) or "-")
    row("phase", record.phase, wording.PHASE_STYLES[record.phase])
    row("status", record.status or "-")
    row("now", wording.describe_where(record, now))
    for command in wording.list_commands(record):
        row("", command, "bold")
    for field in record.wait.fields if record.wait is not None and record.phase == "waiting" else ():
        row("asks for", wording.describe_field(field))
    if record.wait is not None and record.wait.roster and record.phase == "waiting":
        row("who may", ", ".join(record.wait.roster))
    if record.cursor.confidence is not None:
        row("confidence", f"{record.cursor.confidence:g} {one_line(record.cursor.rationale or '', 200)}".strip())
    if record.cursor.stop_reason:
        row("stopped", one_line(record.cursor.stop_reason, 300))
    row("submitted", f"{wording.moment(record.created_at)} by {record.actor}, priority {record.priority}")
    row(
        "last change",
        f"{wording.moment(record.updated_at)}, {many(record.cursor.serial, 'step')}, {many(record.seq, 'entry', 'entries')}",
    )
    if record.parent:
        row(
            "forked from" if record.forked_at else "parent",
            record.parent + f", entry {record.forked_at}" * bool(record.forked_at),
        )
    if record.attempts > 1 or record.cursor.failures:
        row("attempts", f"{record.attempts} of this step, {record.cursor.failures} failed")
    if record.compacted is not None:
        row(
            "context", f"messages 1 to {record.compacted.upto} are left out, after {record.compacted.count} compactions"
        )
    for grant in record.hooks.grants if record.hooks is not None else ():
        row("always allowed", wording.describe_grant(grant))
    if record.spent is not None:
        row("used", wording.describe_spent(record.spent))
    if record.failure is not None:
        row("last failure", wording.describe_failure(record.failure))
    print_plainly(table)
    for title, values in (("Fields", record.fields), ("State", record.state)):
        if values:
            console.print(f"\n{title}")
            _print_values(values)
    if entries:
        console.print("\nLast entries")
        for entry in entries:
            line = f"  {entry.seq:>4}  {wording.clock(entry.at)}  {wording.describe_entry(entry)}"
            console.print(one_line_of(line))


def _print_values(values: object) -> None:
    from orchestrator.interfaces.cli.output import compact

    table = make_table("", "")
    table.show_header = False
    for name, value in values.items() if isinstance(values, dict) else ():
        table.add_row(
            f"  {one_line(str(name), 40)}", one_line(value, 300) if isinstance(value, str) else compact(value, 300)
        )
    print_plainly(table)


def one_line_of(text: str) -> str:
    """Return a prepared line, cut to the terminal's width where there is one."""
    from orchestrator.interfaces.cli.output import is_terminal

    width = make_console().width if is_terminal() else 400
    return text if len(text) <= width else f"{text[: width - 1]}…"
