"""`baton events` and `baton context`: the record of what a session did, and what was said in it."""

import asyncio
from typing import TYPE_CHECKING, Final

import click

from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, output_option, session_argument
from orchestrator.interfaces.cli.output import clean, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.client import Client
    from orchestrator.contracts.messages import Message
    from orchestrator.contracts.session import Entry, Record

#: How often a journal that is followed is looked at.
FOLLOW_SECONDS: Final = 0.2


@click.command("events")
@session_argument
@click.option("--after", type=click.IntRange(min=0), default=0, show_default=True, help="Only entries after this one.")
@click.option("--follow", is_flag=True, help="Go on until the session is settled; with JSON, one object a line.")
@output_option
def events_command(*, session_id: str, after: int, follow: bool, form: Form) -> int:
    """Print a session's journal."""
    from orchestrator.interfaces.cli.connect import with_client

    def say(entry: "Entry") -> None:
        from orchestrator.interfaces.cli.shapes import entry_shape

        if form == "json":
            print_json("event", entry_shape(entry), as_line=True)
        else:
            click.echo(entry_line(entry))

    async def work(client: "Client") -> list["Entry"]:
        if follow:
            await follow_journal(client, session_id, after=after, say=say)
            return []
        await client.show(session_id)
        entries = []
        async for entry in client.events(session_id, after=after):
            if form == "json":
                entries.append(entry)
            else:
                say(entry)
        return entries

    entries = with_client(work)
    if form == "json" and not follow:
        from orchestrator.interfaces.cli.shapes import entry_shape

        print_json("events", [entry_shape(entry) for entry in entries])
    return OK


async def follow_journal(client: "Client", session_id: str, *, after: int, say: "Callable[[Entry], None]") -> "Record":
    """Tell every entry until the session is settled; return it then."""
    from orchestrator.contracts.phases import SETTLED

    while True:
        # The record is read first: what it has counted by then is in the journal.
        record = await client.show(session_id)
        async for entry in client.events(session_id, after=after):
            say(entry)
            after = entry.seq
        if record.phase in SETTLED:
            return record
        await asyncio.sleep(FOLLOW_SECONDS)


def entry_line(entry: "Entry") -> str:
    """Return an entry as `events` prints it."""
    from orchestrator.interfaces.cli.wording import clock, describe_entry

    return f"{entry.seq:>5}  {clock(entry.at)}  {describe_entry(entry)}"


@click.command("context")
@session_argument
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="From this message on.")
@click.option("--seen", is_flag=True, help="What the next model call would be shown: compacted and mended.")
@output_option
def context_command(*, session_id: str, start: int, seen: bool, form: Form) -> int:
    """Print a session's messages, all of them or as its models see them."""
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.wording import describe_call

    async def work(client: "Client") -> "tuple[Message, ...]":
        return (await client.seen(session_id))[start:] if seen else await client.context(session_id, start=start)

    messages = with_client(work)
    if form == "json":
        from orchestrator.interfaces.cli.shapes import message_shape

        print_json("context", [message_shape(number, one) for number, one in enumerate(messages, start)])
        return OK
    if not messages:
        click.echo("no messages")
    for number, message in enumerate(messages, start):
        about = "".join(
            (f" in {message.skill}" if message.skill else "", f" {message.call_id}" if message.call_id else "")
        )
        click.echo(f"{number:>4}  {message.role}{about}")
        for line in clean(message.content).splitlines():
            click.echo(f"      {line}")
        for call in message.tool_calls:
            click.echo(f"      -> {call.call_id} {describe_call(call.tool, call.args, 300)}")
    return OK
