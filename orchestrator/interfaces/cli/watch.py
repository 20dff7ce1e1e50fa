"""`baton watch`: one session until it is settled, or all of them until Ctrl-C.

On a terminal the second is a live table; elsewhere it is a line for each change.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.ids import check_session_id
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import (
    fit_table,
    is_terminal,
    make_console,
    make_table,
    many,
    one_line,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from orchestrator.client import Client
    from orchestrator.contracts.session import Entry

WATCH_SECONDS: Final = 0.5
ROWS: Final = 20


@click.command("watch")
@click.argument("session_id", metavar="[ID]", required=False, type=check_session_id)
@click.option("--app", help="Without ID: only this app's sessions.")
@output_option
def watch_command(*, session_id: str | None, app: str | None, form: Form) -> int:
    """Watch a session, or all of them, live."""
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.sessions import check_words

    async def work(client: "Client") -> int:
        if session_id is not None:
            return await _watch_one(client, session_id, form)
        if app is not None and not (known := await client.list_sessions(app=app, limit=1)).listed and not known.unread:
            check_words(app)
        if form == "table" and is_terminal():
            return await _watch_live(client, app)
        return await _watch_lines(client, app, form)

    return with_client(work)


async def _watch_one(client: "Client", session_id: str, form: Form) -> int:
    """Tell each step, each wait and what models write; exit as the session did."""
    from orchestrator.interfaces.cli.following import exit_code_for
    from orchestrator.interfaces.cli.journal import entry_line, follow_journal
    from orchestrator.interfaces.cli.shapes import entry_shape, session_shape
    from orchestrator.interfaces.cli.wording import describe_where, list_commands

    shown = await client.show(session_id)
    told: set[str] = set()

    def say(entry: "Entry") -> None:
        if form == "json":
            print_json("event", entry_shape(entry), as_line=True)
        else:
            click.echo(entry_line(entry))

    async def tell_waits() -> None:
        while True:
            record = await client.show(session_id)
            wait = record.wait
            if record.phase == "waiting" and wait is not None and wait.wait_id not in told:
                told.add(wait.wait_id)
                click.echo(f"       {describe_where(record)}")
                for command in list_commands(record):
                    click.echo(f"         {command}")
            await asyncio.sleep(WATCH_SECONDS)

    from orchestrator.interfaces.cli.streamed import follow_stream

    others = [asyncio.create_task(follow_stream(client, session_id, form))]
    if form == "table":
        others.append(asyncio.create_task(tell_waits()))
    try:
        # The last entries tell where it is; all of them are in `baton events`.
        record = await follow_journal(client, session_id, after=max(shown.seq - ROWS, 0), say=say)
    finally:
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    if form == "json":
        print_json("session", session_shape(record), as_line=True)
    else:
        end = f"{record.phase}: {record.status}" if record.status else describe_where(record)
        click.echo(f"{session_id} {end}; `baton explain {session_id}` says why")
    from orchestrator.interfaces.cli.connect import load_specs

    spec = load_specs().get(record.app)
    return OK if spec is None else exit_code_for(spec, [record])


async def _watch_live(client: "Client", app: str | None) -> int:
    from rich.live import Live

    console = make_console()
    with Live(console=console, screen=False, auto_refresh=False, transient=False) as live:
        while True:
            live.update(await _snapshot(client, app, console), refresh=True)
            await asyncio.sleep(WATCH_SECONDS)


async def _watch_lines(client: "Client", app: str | None, form: Form) -> int:
    """Print a line for each session that is new or has changed; the newest are looked at."""
    from orchestrator.interfaces.cli.shapes import session_line, unread_shape
    from orchestrator.interfaces.cli.wording import describe_where

    seen: dict[str, int] = {}
    strange: set[str] = set()
    while True:
        found = await client.list_sessions(app=app, limit=ROWS)
        for one in found.unread:
            if one.row.session_id not in strange:
                strange.add(one.row.session_id)
                if form == "json":
                    print_json("unreadable", unread_shape(one), as_line=True)
                else:
                    click.echo(f"{one.row.session_id}  {one.phase}, and cannot be read: {one_line(one.why, 300)}")
        for record in reversed([one.record for one in found.listed]):
            if seen.get(record.session_id) != record.rev:
                seen[record.session_id] = record.rev
                if form == "json":
                    print_json("session", session_line(record), as_line=True)
                else:
                    status = f": {one_line(record.status)}" if record.status else ""
                    click.echo(f"{record.session_id}  {describe_where(record)}{status}")
        await asyncio.sleep(WATCH_SECONDS)


async def _snapshot(client: "Client", app: str | None, console: "Console") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from orchestrator.interfaces.cli.wording import PHASE_STYLES, describe_age, describe_where

    counts, found, workers = await asyncio.gather(
        client.counts(), client.list_sessions(app=app, limit=ROWS), client.workers()
    )
    alive = sum(1 for one in workers if one.kind == "worker")
    head = Text(many(alive, "worker"), "bold")
    for phase, style in PHASE_STYLES.items():
        number = sum(by_phase[phase] for name, by_phase in counts.items() if app in {None, name})
        head.append(f"   {number} {phase}", style if number else "dim")
    table = make_table("SESSION", "PHASE", "SINCE", "NOW", "TEXT", cuts=("NOW", "TEXT"))
    if found.unread:
        head.append(f"   {len(found.unread)} cannot be read here, see `baton list`", "bold red")
    for record in (one.record for one in found.listed):
        table.add_row(
            record.session_id,
            Text(record.phase, PHASE_STYLES[record.phase]),
            describe_age(record.since_at),
            one_line(record.status or describe_where(record), 60),
            one_line(record.text, 50),
        )
    fit_table(table, console, least=1)  # a row that is longer than a line would tear the live view apart
    return Group(head, table)
