"""A call that is announced is made by whoever announced it, whatever would end its slice just then.

Another holder finds the announcement and cannot know that nobody has begun the call: a person would be asked about a call that
has not happened, at every deploy and wherever sessions wait for lanes.
"""

import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts.errors import ToolUnavailable
from orchestrator.scheduler import Scheduler
from orchestrator.settings import Settings
from tests.line import Taken
from tests.stage import Stage, play
from workers.executor import Executor


@pytest.mark.parametrize("how", ["draining", "contended", "paused app", "paused queue"])
def test_no_slice_ends_between_the_announcement_of_a_call_and_the_call(store_url: str, ledger: Path, how: str) -> None:
    """The next step is somebody else's; this one is not cut in two."""

    async def scene(on: Stage) -> None:
        on.worker()
        ending = False
        executor = Executor(
            on.hosts[0],
            is_contended=lambda: ending and how == "contended",
            is_draining=lambda: ending and how == "draining",
        )
        session_id = await on.submit(plan="danger")
        await on.run(executor, session_id)
        await on.client.decide(session_id, allow=True, actor="ada")
        ending = True
        if how.startswith("paused"):
            on.hosts[0].paused = frozenset({"app:everything" if how == "paused app" else "queue:steps"})

        assert await executor.run_slice(session_id) == "committed"

        record = await on.client.show(session_id)
        assert (record.phase, ledger.read_text()) == ("ready", "danger x\n")
        assert await on.client.intents(session_id) == {}
        ending, on.hosts[0].paused = False, frozenset()
        record = await on.run(executor, session_id)
        assert (record.phase, record.status) == ("ended", "fine")
        assert ledger.read_text() == "danger x\n"

    play(store_url, scene, Settings.model_validate({"lanes": {"drain_seconds": 0}}))


@pytest.mark.parametrize("is_lost", [True, False])
def test_whoever_stood_still_before_a_call_makes_it_only_with_a_lease(
    store_url: str, ledger: Path, is_lost: bool
) -> None:
    """Frozen behind the announcement, it would otherwise make the call after a person was told that it has not happened."""

    async def scene(on: Stage) -> None:
        executor, successor = on.worker(), on.worker()
        session_id = await on.submit(plan="danger")
        await on.run(executor, session_id)
        await on.client.decide(session_id, allow=True, actor="ada")
        leases = on.hosts[0].leases
        commit = leases.commit

        async def stand_still(*args: Any) -> Any:
            done = await commit(*args)
            if args[3].intents:
                executor.slices[session_id].kept = -math.inf
                if is_lost:
                    await on.lose_lease(session_id)
                    asked = await on.run(successor, session_id)
                    assert asked.wait is not None
                    assert asked.wait.kind == "uncertain"
                    await on.client.answer(session_id, actor="ada", verdict="failed")
            return done

        leases.commit = stand_still  # type: ignore[method-assign]
        ended = await executor.run_slice(session_id)

        assert ended == ("lost" if is_lost else "committed")
        await on.run(successor, session_id)
        assert ledger.read_text() == ("" if is_lost else "danger x\n")

    play(store_url, scene)


@pytest.mark.parametrize("plan", ["strike", "strike_never"])
@pytest.mark.parametrize("is_sent", [False, True])
def test_a_call_that_was_surely_not_sent_is_made_later_and_nobody_is_asked(
    store_url: str, ledger: Path, monkeypatch: pytest.MonkeyPatch, plan: str, is_sent: bool
) -> None:
    """Its server was away. One that may have left is uncertain, or failed where the app says so."""

    async def away(*_: object, **__: object) -> object:
        raise ToolUnavailable("tool server 'hands': cannot be reached; try again later", is_sent=is_sent)

    async def scene(on: Stage) -> None:
        first, second = on.worker(), on.worker()
        monkeypatch.setattr(on.hosts[0].apps["everything"].toolbox, "call", away)
        session_id = await on.submit(plan=plan)
        record = await on.run(first, session_id)
        assert record.wait is not None
        assert record.wait.kind == "retry"
        assert list(await on.client.intents(session_id)) == (["call-0-0"] if is_sent else [])
        await on.skip_to_due(session_id)

        record = await on.run(second, session_id)

        outcomes = [call.outcome async for entry in on.client.events(session_id) for call in entry.calls]
        if not is_sent:
            assert (record.status, outcomes[0], len(ledger.read_text().splitlines())) == ("fine", "executed", 1)
        elif plan == "strike":
            assert record.wait is not None
            assert (record.wait.kind, outcomes, ledger.read_text()) == ("uncertain", [], "")
        else:
            assert (outcomes[0], ledger.read_text()) == ("failed", "")
        assert (await on.client.verify(session_id)).differences == ()

    play(store_url, scene)


def test_a_scheduler_that_knows_of_shorter_leases_alone_cuts_none(store_url: str, ledger: Path) -> None:
    """Its holder believes in half of its own lease, and makes the call after somebody was told that it has not happened.

    The worker has another setting than the scheduler, and the register does not name it: it has been silent for three beats, or
    the server that holds the register has failed over.
    """

    async def scene(on: Stage) -> None:
        executor, scheduler = on.worker(), Scheduler("s", on.store, on.client, Taken(), Settings(), {})
        session_id = await on.submit(plan="danger")
        await on.run(executor, session_id)
        await on.client.decide(session_id, allow=True, actor="ada")
        leases, key = on.hosts[0].leases, on.store.keys.of_session("leases", session_id)
        commit, ends = leases.commit, []

        async def look_meanwhile(*args: Any) -> Any:
            done = await commit(*args)
            if args[3].intents:
                ends.append(await on.store.command("ZSCORE", key, session_id))
                await scheduler.round()
                ends.append(await on.store.command("ZSCORE", key, session_id))
            return done

        leases.commit = look_meanwhile  # type: ignore[method-assign]
        await executor.run_slice(session_id)

        assert len(ends) == 2 and len(set(ends)) == 1
        assert ledger.read_text() == "danger x\n"

    play(store_url, scene, Settings.model_validate({"lease": {"seconds": 3_600, "renew_seconds": 1_000}}))
