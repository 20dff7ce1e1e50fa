"""What the demo says to sessions that wait for a person: what the terminal says, or what was said in advance.

    --yes                  every approval is granted, a plugin's question gets the defaults that it declares
    a terminal             the person at it is asked
    neither                every approval is denied, with the reason: silence must not let anything act

Any other question is answered on the terminal. Without one nobody can: a plugin's pass is stopped, and its app says what
follows; any other session is cancelled.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from orchestrator.client import Client
from orchestrator.contracts.errors import InputError, NotWaiting, PhaseRefused
from orchestrator.contracts.session import Record, Wait
from orchestrator.interfaces.cli.wording import describe_call, describe_field, describe_wait

Mode: TypeAlias = Literal["yes", "ask", "deny"]

UNASKED: Final = "nobody could be asked: no terminal, and no --yes"
STOP: Final = "stop"


def choose_mode(*, says_yes: bool) -> Mode:
    """Return how approvals are answered here."""
    if says_yes:
        return "yes"
    return "ask" if sys.stdin.isatty() and sys.stdout.isatty() else "deny"


async def answer(client: Client, record: Record, actor: str, mode: Mode, say: Callable[[str], None]) -> None:
    """Answer what a session waits for; nothing happens where it was answered meanwhile."""
    wait = record.wait
    if wait is None:
        return
    who = wait.roster[0] if wait.roster else actor
    try:
        if wait.kind == "approval":
            await _decide(client, record, wait, who, mode, say)
        elif wait.fields:
            await _fill_in(client, record, wait, who, mode, say)
        else:
            await _reply(client, record, wait, who, mode, say)
    except (NotWaiting, PhaseRefused) as error:
        say(f"{record.session_id}: {error}")


async def _decide(client: Client, record: Record, wait: Wait, who: str, mode: Mode, say: Callable[[str], None]) -> None:
    call = wait.call
    what = describe_call(call.tool, call.args, 200) if call is not None else "its call"
    say(f"{record.session_id} asks for an approval: {what}")
    allow, reason = mode == "yes", "--yes" if mode == "yes" else UNASKED
    if mode == "ask":
        said = (await read_line("  allow it? [y/N] ")).strip().lower()
        allow = said in {"y", "yes"}
        reason = "asked on the terminal" if allow else (await read_line("  why not? (a reason, or Enter) ")).strip()
    await client.decide(record.session_id, allow=allow, actor=who, reason=reason, wait_id=wait.wait_id)
    say(f"  {'approved' if allow else 'denied'} as {who}" + (f" ({reason})" if reason else ""))


async def _reply(client: Client, record: Record, wait: Wait, who: str, mode: Mode, say: Callable[[str], None]) -> None:
    say(f"{record.session_id} waits for {describe_wait(record)}")
    if mode != "ask":
        await client.cancel(record.session_id, actor=who, reason=UNASKED)
        say(f"  cancelled as {who} ({UNASKED})")
        return
    offered = [option for option in wait.options if option != "resume_with_input"]
    hint = f" or one of {', '.join(offered)}" if offered else ""
    while not (said := (await read_line(f"  your answer{hint}: ")).strip()):
        pass
    if said in offered:
        await client.answer(record.session_id, actor=who, verdict=said)
    else:
        await client.answer(record.session_id, actor=who, text=said)


async def _fill_in(
    client: Client, record: Record, wait: Wait, who: str, mode: Mode, say: Callable[[str], None]
) -> None:
    """Answer a plugin's question: by its defaults, on the terminal, or not at all."""
    say(f"{record.session_id} waits for {describe_wait(record)}")
    defaults = {field.id: field.default for field in wait.fields if field.default is not None}
    if mode == "yes" and all(field.id in defaults for field in wait.fields if field.required):
        await client.answer(record.session_id, actor=who, value={**defaults})
        told = ", ".join(f"{name} = {value}" for name, value in defaults.items()) or "nothing"
        say(f"  answered by its defaults as {who}: {told}")
        return
    if mode != "ask":
        await client.answer(record.session_id, actor=who, verdict=STOP)
        say(f"  stopped as {who} ({UNASKED if mode == 'deny' else '--yes, and it declares no default'})")
        return
    while True:
        texts: dict[str, str] = {}
        for field in wait.fields:
            said = (await read_line(f"  {describe_field(field)}, or {STOP}: ")).strip()
            if said == STOP:
                await client.answer(record.session_id, actor=who, verdict=STOP)
                return
            if said:
                texts[field.id] = said
        try:
            if texts:
                await client.answer(record.session_id, actor=who, fields=texts)
            else:
                await client.answer(record.session_id, actor=who, value={})
        except InputError as error:
            say(f"  {error}")
        else:
            return


async def read_line(prompt: str) -> str:
    """Return a line from the terminal; cancelled with the task, as a thread in `input` could not be."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        loop.remove_reader(sys.stdin)
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, read)
    try:
        said = await line
    finally:
        loop.remove_reader(sys.stdin)
    if not said:
        raise KeyboardInterrupt  # the terminal was closed: nobody will ever answer
    return said
