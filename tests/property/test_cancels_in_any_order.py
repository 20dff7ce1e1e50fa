"""Whatever people say to a session, and in whatever order: no call is left without its answer, and a cancel is kept."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts.errors import BatonError
from orchestrator.contracts.session import Post, Record
from tests.halting import Halting, halting

ENTRIES = [("start", "strikes"), ("start", "looks"), ("start", "put"), ("start", "asks"), ("ask", ""), ("nap", "")]
SAID = ("graceful", "immediate", "allow", "deny", "answer", "forged", "signal", "retry", "due")
DONE = ("begin", "finish", "hear", "die", "rest")

acts = st.lists(st.sampled_from([*SAID, *SAID[:2], *DONE, "begin", "finish"]), max_size=12)


@settings.get_profile("ci")
@given(entry=st.sampled_from(ENTRIES), story=acts)
def test_any_story_of_cancels_and_answers_leaves_a_whole_session(
    store_url: str, entry: tuple[str, str], story: list[str]
) -> None:
    """Cancels of both kinds, answers right, wrong and late, deaths of workers, in any order: it ends, and ends whole."""
    asyncio.run(live(store_url, entry, story))


async def live(url: str, entry: tuple[str, str], story: Sequence[str]) -> None:
    """Live one story to its end, and look at what is left."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, HALTING_LEDGER=str(Path(folder) / "ledger")):
        async with halting(url) as on:
            session_id = await on.submit(entry[0], plan=entry[1])
            running: asyncio.Task[object] | None = None
            asked: list[bool] = []
            for act in story:
                if act in SAID:
                    await say(on, session_id, act, asked)
                else:
                    running = await do(on, session_id, act, running)
                await on.check_journal(session_id)
            await do(on, session_id, "finish", running)
            record = await rest(on, session_id)
            if record.phase == "waiting":
                await say(on, session_id, "graceful", asked)
                record = await rest(on, session_id)
            await judge(on, record, asked, Path(folder) / "ledger")


async def say(on: Halting, session_id: str, what: str, asked: list[bool]) -> None:
    """Say one thing to the session; what is refused has changed nothing. A cancel that was taken is noted."""
    client = on.on.client
    record = await client.show(session_id)
    wait_id = record.wait.wait_id if record.wait is not None else "none"
    try:
        match what:
            case "graceful" | "immediate":
                await client.cancel(session_id, actor="ada", immediate=what == "immediate")
                asked.append(record.phase != "finalizing")
            case "allow" | "deny":
                await client.decide(session_id, allow=what == "allow", actor="ada")
            case "answer":
                await client.answer(session_id, actor="ada", text="go on")
            case "retry":
                await client.answer(session_id, actor="ada", verdict="retry")
            case "forged":
                post = Post(post_id=f"f{record.rev}", kind="decision", actor="eve", wait_id=wait_id, verdict="allow")
                await client.deliver(session_id, post, answers=wait_id)
            case "signal":
                await client.signal(session_id, "go", actor="ada")
            case _ if record.phase == "waiting" and record.wait is not None and record.wait.deadline_at is not None:
                await on.on.skip_to_due(session_id)
    except BatonError:
        return


async def do(
    on: Halting, session_id: str, what: str, running: asyncio.Task[object] | None
) -> asyncio.Task[object] | None:
    """Let the worker do one thing."""
    if running is not None and running.done():
        running = None
    match what:
        case "begin" if running is None:
            on.tools.go_on.clear()
            running = asyncio.create_task(on.executor.run_slice(session_id))
            begun = asyncio.create_task(on.tools.begun.get())
            await asyncio.wait([running, begun], return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
        case "finish" if running is not None:
            on.tools.go_on.set()
            await running
        case "hear":
            await on.heartbeat.renew_all()
        case "die" if running is not None:
            await on.on.lose_lease(session_id)
            await on.heartbeat.renew_all()
            await running
        case "rest" if running is None:
            on.tools.go_on.set()
            await on.executor.run_slice(session_id)
        case _:
            pass
    return running


async def rest(on: Halting, session_id: str) -> Record:
    """Go on until the session waits or is settled; what only time ends is due at once."""
    on.tools.go_on.set()
    return await on.run(session_id)


async def judge(on: Halting, record: Record, asked: Sequence[bool], ledger: Path) -> None:
    """Fail where the session is not whole, or its end not what was asked for."""
    session_id = record.session_id
    assert record.phase == "ended"
    await on.check(session_id)
    if record.cursor.stop == "cancelled":
        assert record.status == "called_off"
        assert asked
    else:
        assert record.status == "fine"
    ends = [(call.call_id, call.outcome) for call in await on.calls(session_id)]
    assert len({call_id for call_id, _ in ends}) == len(ends), "a call came to its end twice"
    never = {
        call.call_id
        for call in await on.calls(session_id)
        if isinstance(call.result, dict) and call.result.get("begun") is False
    }
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    made = [call for call in await on.calls(session_id) if call.call_id in never]
    for call in made:
        assert not [line for line in lines if line.startswith(f"{call.tool.split(':')[1]} {call.args['value']}")]
    events = [str(told["event"]) for told in await on.events(session_id)]
    assert events.count("cancel:completed") == (1 if asked else 0)
    assert events.count("cancel:requested") == len(asked)
