"""What the demo says to sessions that wait for a person: what the terminal says, or what was said in advance.

    --yes                  every approval is granted
    a terminal             the person at it is asked
    neither                every approval is denied, with the reason: silence must not let anything act

A question that is no approval is answered on the terminal; without one, nobody can, and the session is cancelled.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from orchestrator.client import Client
from orchestrator.contracts.errors import NotWaiting, PhaseRefused
from orchestrator.contracts.session import Record, Wait
from orchestrator.interfaces.cli.wording import describe_call, describe_wait

Mode: TypeAlias = Literal["yes", "ask", "deny"]

UNASKED: Final = "nobody could be asked: no terminal, and no --yes"


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
