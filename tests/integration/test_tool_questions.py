"""A tool that asks a person before it acts: a wait without a worker, and the same call again in another process."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.contracts.errors import InputError, NotWaiting
from orchestrator.contracts.session import ToolCall
from tests.architecture.source_tree import ROOT
from tests.stage import Stage, play

#: One worker, for one session, in a process of its own.
WORKER = """
import asyncio, sys
from tests.stage import play, stage

async def run():
    async with stage(sys.argv[1]) as on:
        await on.run(on.worker(), sys.argv[2])

asyncio.run(run())
"""


def work_elsewhere(url: str, session_id: str) -> None:
    """Let a worker in a process of its own take the session as far as it goes."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", WORKER, url, session_id], env=env, check=True, timeout=60)


async def first_call(on: Stage, session_id: str) -> ToolCall:
    """Return the first call that came to an end."""
    calls = [call async for entry in on.client.events(session_id) for call in entry.calls]
    return calls[0]


def test_what_one_process_began_another_finishes(store_url: str, ledger: Path) -> None:
    """The process that asked is gone when a person answers; the tool gets its answers and its state, and acts once."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="ponder")
        await asyncio.to_thread(work_elsewhere, store_url, session_id)
        record = await on.client.show(session_id)
        wait = record.wait
        assert wait is not None
        assert (record.phase, wait.kind, wait.reason) == ("waiting", "input", "tool_input")
        assert wait.prompt == "hands:ponder: How many rows?"
        assert [(one.id, one.type, one.required, one.default) for one in wait.fields] == [
            ("count", "integer", True, None),
            ("in_what_", "choice", False, "mm"),
        ]
        assert await on.client.intents(session_id) == {}
        assert ledger.read_text() == ""

        with pytest.raises(InputError, match="count"):
            await on.client.answer(session_id, actor="ada", value={"count": "many"})
        await on.client.answer(session_id, actor="ada", fields={"count": "7"})
        await asyncio.to_thread(work_elsewhere, store_url, session_id)

        call = await first_call(on, session_id)
        assert (await on.client.show(session_id)).status == "fine"
        assert (call.outcome, call.result) == ("executed", {"counted": 7})
        assert ledger.read_text() == "ponder of rows {'count': 7, 'in what?': 'mm'}\n"

    play(store_url, scene)


def test_what_was_looked_at_is_answered_and_nothing_else(store_url: str, ledger: Path) -> None:
    """A session may ask something else by now, or stand where it stood before a failover: a word for the one is none for the other."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="ponder")
        await on.run(on.worker(), session_id)
        before = await on.client.show(session_id)
        assert before.wait is not None

        with pytest.raises(NotWaiting, match="it does not wait for w99 any more; look again"):
            await on.client.answer(session_id, actor="ada", verdict="stop", wait_id="w99")
        assert await on.client.show(session_id) == before
        assert await on.client.answer(session_id, actor="ada", verdict="stop", wait_id=before.wait.wait_id)

    play(store_url, scene)


@pytest.mark.parametrize(("how", "outcome"), [("stopped", "rejected"), ("expired", "timeout")])
def test_a_question_that_nobody_answers_ends_the_call(store_url: str, ledger: Path, how: str, outcome: str) -> None:
    """Stopped or out of time: the tool is not called again, and the model is told which."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="ponder")
        await on.run(on.worker(), session_id)
        if how == "stopped":
            await on.client.answer(session_id, actor="ada", verdict="stop", text="not now")
        else:
            await on.skip_to_due(session_id)
        record = await on.run(on.worker(), session_id)

        assert record.phase == "ended"
        assert (await first_call(on, session_id)).outcome == outcome
        assert ledger.read_text() == ""

    play(store_url, scene)


def test_a_session_that_waits_for_a_tools_answer_is_cancelled_like_any_other(store_url: str, ledger: Path) -> None:
    """A question holds nothing back."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="ponder")
        await on.run(on.worker(), session_id)
        await on.client.cancel(session_id, actor="ada")
        record = await on.run(on.worker(), session_id)

        assert (record.phase, record.cursor.stop) == ("ended", "cancelled")
        assert ledger.read_text() == ""

    play(store_url, scene)


def test_a_worker_that_dies_with_the_answers_leaves_an_uncertain_call(store_url: str, ledger: Path) -> None:
    """Asked and answered, the call is one that acts: a crash in it is shown to a person, and `retry` keeps the answers."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="ponder")
        worker = on.worker()
        await on.run(worker, session_id)
        await on.client.answer(session_id, actor="ada", value={"count": 7})
        dying = on.worker("dying")
        toolbox = dying._host.apps["everything"].toolbox
        reached = asyncio.Event()

        async def never(*_: object, **__: object) -> object:
            reached.set()
            return await asyncio.Event().wait()

        toolbox.call = never  # type: ignore[method-assign]
        slice_ = asyncio.create_task(dying.run_slice(session_id))
        await reached.wait()
        dying.slices[session_id].lost = True  # it hands nothing back: as if its process had died
        slice_.cancel()
        await asyncio.gather(slice_, return_exceptions=True)
        await on.lose_lease(session_id)
        record = await on.run(worker, session_id)
        assert record.wait is not None
        assert record.wait.kind == "uncertain"
        await on.client.answer(session_id, actor="ada", verdict="retry")
        record = await on.run(worker, session_id)

        assert record.status == "fine"
        assert ledger.read_text() == "ponder of rows {'count': 7, 'in what?': 'mm'}\n"

    play(store_url, scene)
