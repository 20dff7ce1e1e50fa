"""A slice: when it stops, what it leaves, and that a lost lease or a cancel reaches the step that runs."""

import asyncio
from typing import Any

import pytest

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.contracts.failures import FailureRecord, to_record
from orchestrator.contracts.provider_errors import QuotaExceededError, RateLimitError
from orchestrator.contracts.session import Entry
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.settings import Settings
from tests.unit.workers.scenes import Scene, scene


async def journal(on: Scene, session_id: str) -> list[Entry]:
    """Return a session's journal."""
    return [entry async for entry in on.on.client.events(session_id)]


def again(limit: int) -> object:
    """Return a result that goes round until it has counted so far."""
    return lambda state: {"n": state.get("n", 0) + 1, "signal": "again" if state.get("n", 0) + 1 < limit else "success"}


def test_a_slice_goes_on_while_steps_are_ready(store_url: str) -> None:
    """Draining: one claim for many steps, and each of them committed."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.result = again(5)
            session_id = await on.submit()

            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            assert (record.phase, record.state["n"]) == ("finalizing", 5)
            steps = [entry for entry in await journal(on, session_id) if entry.kind == "step"]
            assert len({entry.fence for entry in steps}) == 1
            assert on.on.woken == [session_id]

    asyncio.run(play())


def test_a_slice_lets_others_in_when_its_budget_is_spent(store_url: str) -> None:
    """A long session must not starve those who wait for its lane; alone, it goes on."""

    async def play() -> None:
        settings = Settings.model_validate({"lanes": {"drain_steps": 3}, "apps": {"bundled": False}})
        async with scene(store_url, settings=settings) as on:
            on.step.go_on.set()
            on.step.result = again(10)
            on.contended = True
            session_id = await on.submit()

            await on.executor.run_slice(session_id)

            record = await on.on.client.show(session_id)
            assert (record.phase, record.state["n"]) == ("ready", 4)
            on.contended = False
            await on.executor.run_slice(session_id)
            assert (await on.on.client.show(session_id)).state["n"] == 10

    asyncio.run(play())


def test_a_draining_worker_ends_after_the_step_that_runs(store_url: str) -> None:
    """SIGTERM: the step is finished and committed, the next one is somebody else's."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.result = again(5)
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            on.draining = True
            on.step.go_on.set()

            assert await running == "committed"

            record = await on.on.client.show(session_id)
            assert (record.phase, record.state["n"], record.attempts) == ("ready", 1, 0)

    asyncio.run(play())


def test_a_slice_that_has_no_more_time_is_handed_back(store_url: str) -> None:
    """Past the grace: nothing of the step is kept, the attempt does not count, and nobody waits for the lease."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            running.cancel()

            assert await running == "released"

            record = await on.on.client.show(session_id)
            assert (record.phase, record.attempts, record.rev) == ("ready", 0, 0)
            assert [entry.kind for entry in await journal(on, session_id)] == ["submitted", "released"]
            assert on.executor.slices == {}

    asyncio.run(play())


def test_a_step_that_cancels_itself_is_buried_and_not_begun_for_ever(store_url: str) -> None:
    """Nobody asked it to stop: handed back without an attempt, its session would come again at once, and again."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            on.step.go_on.set()
            on.step.error = asyncio.CancelledError()

            assert await on.executor.run_slice(session_id) == "committed"

            [(dead, info)] = await on.on.client.dead_letters()
            assert (dead, info["reason"]) == (session_id, "permanent_error")
            assert "not by us" in str(info["detail"])
            assert "in run" in str(info["detail"])  # where it gave up, for whoever mends it

    asyncio.run(play())


def test_a_lost_lease_stops_the_step_at_once(store_url: str) -> None:
    """What it would write is refused anyway; the model's time is not spent for nothing."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            await on.on.lose_lease(session_id)

            await on.renew()

            assert await running == "lost"
            assert on.step.cancelled == 1
            record = await on.on.client.show(session_id)
            assert (record.phase, record.rev) == ("ready", 0)

    asyncio.run(play())


def test_a_lease_that_was_lost_unnoticed_is_refused_at_the_commit(store_url: str) -> None:
    """Between two heartbeats the fence alone decides: the work is dropped, the other holder's stays."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            on.step.result = {"by": "the first"}
            running = on.start(session_id)
            await on.step.began.wait()
            await on.on.lose_lease(session_id)
            on.step.go_on.set()

            assert await running == "lost"

            assert "by" not in (await on.on.client.show(session_id)).state
            assert await on.executor.run_slice(session_id) == "committed"
            assert [entry.kind for entry in await journal(on, session_id)].count("step") >= 1

    asyncio.run(play())


def test_a_cancel_reaches_the_step_that_runs(store_url: str) -> None:
    """The heartbeat brings it back; the session ends as cancelled, and nothing of the step is kept."""

    async def play() -> None:
        async with scene(store_url, cancelled_status=None) as on:
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            await on.on.client.cancel(session_id, actor="ada", reason="enough")

            await on.renew()

            assert await running == "committed"
            assert on.step.cancelled == 1
            await on.executor.run_slice(session_id)
            record = await on.on.client.show(session_id)
            assert (record.phase, record.reason, record.cursor.stop_reason) == ("ended", "cancelled", "enough")

    asyncio.run(play())


def test_a_failure_that_may_pass_is_a_wait_and_holds_no_lane(store_url: str) -> None:
    """Back-off is a due time; the lane is free at once."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.error = RateLimitError("p: busy", retry_after=30)
            session_id = await on.submit()

            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            assert record.wait is not None
            assert (record.phase, record.wait.kind, record.cursor.failures) == ("waiting", "retry", 1)
            assert (record.wait.deadline_at or 0) - record.wait.since_at >= 30_000
            assert on.executor.slices == {}

    asyncio.run(play())


def test_a_failure_that_will_not_pass_is_a_dead_letter_with_its_trace(store_url: str) -> None:
    """A person finds what went wrong without the worker's log."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.error = ZeroDivisionError("by nothing")
            session_id = await on.submit()

            await on.executor.run_slice(session_id)

            [(dead, info)] = await on.on.client.dead_letters()
            assert (dead, info["reason"]) == (session_id, "permanent_error")
            assert "ZeroDivisionError: by nothing" in str(info["detail"])

    asyncio.run(play())


async def differences(on: Scene, session_id: str) -> list[str]:
    """Return in what a session is not as its journal describes it."""
    record = await on.on.client.show(session_id)
    messages = [message.to_json() for message in await on.on.client.context(session_id)]
    entries = [entry async for entry in on.on.client.events(session_id)]
    return find_differences(record, messages, 0, fold(entries))


def test_a_session_keeps_how_its_step_failed_until_the_step_is_done(store_url: str) -> None:
    """Whoever looks at it sees the class, what the service said, and nothing of it afterwards. The journal says the same."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.error = RateLimitError("p: busy", provider="p", model="m", status_code=429, retry_after=30)
            session_id = await on.submit()
            await on.executor.run_slice(session_id)
            waiting = await on.on.client.show(session_id)
            [told] = [entry.data async for entry in on.on.client.events(session_id) if entry.outcome == "snoozed"]

            assert waiting.failure == to_record(on.step.error)
            assert {
                "error": "RateLimitError",
                "status_code": 429,
                "retry_after": 30,
                "kind": "transient",
            }.items() <= told.items()
            assert await differences(on, session_id) == []

            on.step.error = None
            await on.on.skip_to_due(session_id)
            await on.executor.run_slice(session_id)

            done = await on.on.client.show(session_id)
            assert done.failure is None
            assert await differences(on, session_id) == []

    asyncio.run(play())


def test_a_dead_letter_names_the_class_until_it_is_sent_again(store_url: str) -> None:
    """A runbook starts from the class; what a replay makes of the session is not that failure's any more."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.error = QuotaExceededError("p: spent; pay", provider="p", status_code=429)
            session_id = await on.submit()
            await on.executor.run_slice(session_id)

            [(_, info)] = await on.on.client.dead_letters()
            dead = await on.on.client.show(session_id)
            [buried] = [entry async for entry in on.on.client.events(session_id) if entry.kind == "buried"]
            assert (info["error"], buried.data["error"]) == ("QuotaExceededError", "QuotaExceededError")
            assert FailureRecord.model_validate(info["failure"]) == dead.failure == to_record(on.step.error)
            assert await differences(on, session_id) == []

            await on.on.client.replay([session_id], actor="ada")

            again = await on.on.client.show(session_id)
            assert (again.phase, again.failure) == ("ready", None)
            assert await differences(on, session_id) == []

    asyncio.run(play())


@pytest.mark.parametrize(
    "result", [{"big": "x" * 300_000}, ["no", "mapping"], {"bad": object()}, {"bad": float("nan")}]
)
def test_a_result_that_cannot_be_stored_is_a_dead_letter(store_url: str, result: object) -> None:
    """Too large, of the wrong kind, no JSON: refused with a reason, and never tried for ever."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.result = result
            session_id = await on.submit()

            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            assert (record.phase, record.state) == ("dead", {})

    asyncio.run(play())


def test_a_runaway_is_stopped_at_its_limit_of_steps(store_url: str) -> None:
    """Invariant 12: every loop has an end."""

    async def play() -> None:
        async with scene(store_url, max_steps=6) as on:
            on.step.go_on.set()
            on.step.result = again(10**9)
            session_id = await on.submit()

            await on.executor.run_slice(session_id)

            record = await on.on.client.show(session_id)
            assert (record.phase, record.reason) == ("dead", "step_limit")
            assert on.step.runs == 6

    asyncio.run(play())


def test_an_unreadable_record_becomes_a_dead_letter(store_url: str) -> None:
    """Its wake-up is answered once; the worker goes on with others."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            key = on.on.store.keys.of_session("record", session_id)
            await on.on.store.command("HSET", key, "cursor", "{")

            assert await on.executor.run_slice(session_id) == "committed"

            assert await on.on.store.command("HGET", key, "phase") == "dead"
            assert await on.executor.run_slice(session_id) == "refused"

    asyncio.run(play())


def test_a_wake_up_for_nothing_is_refused(store_url: str) -> None:
    """An id that names nothing, and a session that only waits."""

    async def play() -> None:
        async with scene(store_url) as on:
            assert await on.executor.run_slice("PLN-20260101-404") == "refused"

    asyncio.run(play())


def test_a_step_that_finds_no_store_gives_the_session_up(store_url: str) -> None:
    """Whether its act happened is unknown, so it is no failure of the step: the lease runs out and another looks."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.error = StoreUnreachable("store: away")
            session_id = await on.submit()

            assert await on.executor.run_slice(session_id) == "lost"

            record = await on.on.client.show(session_id)
            assert (record.phase, record.cursor.failures) == ("running", 0)
            await on.on.lose_lease(session_id)
            on.step.error = None
            assert await on.executor.run_slice(session_id) == "committed"

    asyncio.run(play())


def test_a_function_changes_only_what_it_returns(store_url: str) -> None:
    """What it does to its argument in place would be stored without a word in the journal."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()

            def change(state: dict[str, object]) -> dict[str, object]:
                log = state["log"]
                assert isinstance(log, list)
                log.append("in place")
                return {"n": 1, "same": state["same"]}

            on.step.result = change
            session_id = await on.submit(log=["before"], same={"deep": [1]})
            await on.executor.run_slice(session_id)

            record = await on.on.client.show(session_id)
            assert record.state == {"log": ["before"], "same": {"deep": [1]}, "n": 1}
            step = next(entry for entry in await journal(on, session_id) if entry.step == "compute")
            assert step.state == {"n": 1}

    asyncio.run(play())


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ({"a": 1, "b": 1.5, "c": True, "d": None, "e": "x"}, {"a": 1, "b": 1.5, "c": True, "d": None, "e": "x"}),
        ({"name": "Zo\u00eb \U0001f600", "na\u00efve": 1}, {"name": "Zo\u00eb \U0001f600", "na\u00efve": 1}),
        ({1: "one", None: "none"}, {"1": "one", "None": "none"}),
        ({"huge": 2**80}, {"huge": 2**80}),
        ({"lone": "\ud800"}, None),
        ({"lone \ud800": 1}, None),
        ({"nan": float("nan")}, None),
        ({"far": float("inf")}, None),
    ],
)
def test_a_function_returns_json_whatever_it_is_made_of(
    store_url: str, made: dict[Any, Any], kept: dict[str, Any] | None
) -> None:
    """What needs no second look and what does end alike: as the next reader sees it, or as the app's failure."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            on.step.result = made
            session_id = await on.submit()
            await on.executor.run_slice(session_id)

            record = await on.on.client.show(session_id)
            if kept is None:
                assert record.failure is not None
                assert record.state == {}
            else:
                assert record.state == kept

    asyncio.run(play())


def test_the_next_step_sees_what_another_worker_would_read(store_url: str) -> None:
    """A set or a tuple becomes a list at once, not only when the session changes hands."""

    async def play() -> None:
        async with scene(store_url) as on:
            on.step.go_on.set()
            seen: list[object] = []

            def change(state: dict[str, object]) -> dict[str, object]:
                seen.append(state.get("pair"))
                return {"pair": (1, 2), "signal": "again" if len(seen) < 2 else "success"}

            on.step.result = change
            await on.executor.run_slice(await on.submit())

            assert seen == [None, [1, 2]]

    asyncio.run(play())


async def orphan(on: Scene, session_id: str, times: int) -> None:
    """Let so many holders of a session die."""
    for number in range(times):
        await on.host.leases.claim(session_id, f"dead:{number}", on.host.digests, alone=True)
        await on.on.lose_lease(session_id)


def test_suspects_run_one_at_a_time_and_others_beside_them(store_url: str) -> None:
    """The next death may be this one's doing: whoever waits for its turn holds no lease that would count."""

    async def play() -> None:
        async with scene(store_url) as on:
            first, second, innocent = [await on.submit() for _ in range(3)]
            for session_id in (first, second):
                await orphan(on, session_id, 2)
            running = [on.start(session_id) for session_id in (first, second, innocent)]
            await on.wait_for_run(2)

            phases = [(await on.on.client.show(one)).phase for one in (first, second, innocent)]
            assert phases == ["running", "ready", "running"]
            assert (await on.on.client.show(second)).attempts == 2
            on.step.go_on.set()

            assert await asyncio.gather(*running) == ["committed"] * 3
            assert (await on.on.client.show(second)).attempts == 0

    asyncio.run(play())


def test_a_suspects_turn_ends_with_its_commit(store_url: str) -> None:
    """It is no suspect any more, however long its slice goes on; a refused or stopped one ends its turn too."""

    async def play() -> None:
        async with scene(store_url) as on:
            long, other, stopped = [await on.submit() for _ in range(3)]
            for session_id in (long, other, stopped):
                await orphan(on, session_id, 2)
            taken_back = on.start(stopped)
            await on.step.began.wait()
            waiting = on.start(other)
            taken_back.cancel()
            assert await taken_back == "released"
            await on.wait_for_run(2)

            on.step.result = {"signal": "again"}
            on.step.go_on.set()
            await on.wait_for_run(4)  # it has committed, and its slice goes on for ever
            on.step.result = {"signal": "success"}

            assert await on.executor.run_slice(long) == "committed"
            assert await waiting == "committed"

    asyncio.run(play())
