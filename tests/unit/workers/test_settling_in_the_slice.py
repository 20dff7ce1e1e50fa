"""A worker that takes the finalizer's queue settles its session itself; a wake-up for what it just held is not lost."""

import asyncio

from tests.unit.workers.scenes import Scene, scene
from workers.lanes import Lanes


def settling(on: Scene) -> Scene:
    """Let the scene's executor settle what it brings to its end."""
    on.executor._finalizes = True
    on.step.go_on.set()
    return on


def test_the_slice_that_ends_the_work_settles_the_session(store_url: str) -> None:
    """Under the lease that it holds anyway: no second claim, no message, and the status is there at once."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()

            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            steps = [entry async for entry in on.on.client.events(session_id) if entry.kind == "step"]
            assert record.phase == "ended"
            assert steps[-1].step == "finalize"
            assert len({entry.fence for entry in steps}) == 1
            assert on.on.woken == []

    asyncio.run(play())


def test_work_and_settling_are_two_commits(store_url: str) -> None:
    """A crash in between loses neither: the journal holds the work before the status exists."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()

            await on.executor.run_slice(session_id)

            steps = [entry async for entry in on.on.client.events(session_id) if entry.kind == "step"]
            assert [entry.set.get("phase") for entry in steps[-2:]] == ["finalizing", "ended"]

    asyncio.run(play())


def test_a_worker_that_dies_before_it_settles_is_succeeded(store_url: str) -> None:
    """The lease that was kept runs out like any other; the next holder finds a session to settle."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()
            commit, store = on.host.leases.commit, on.host.store
            died = False

            async def die_before_settling(*args: object) -> object:
                nonlocal died
                if args[3].directive == "ended" and not died:  # type: ignore[attr-defined]
                    died = True
                    raise asyncio.CancelledError
                return await commit(*args)  # type: ignore[arg-type]

            on.host.leases.commit = die_before_settling  # type: ignore[assignment,method-assign]
            on.host.leases.release = lambda *_: asyncio.sleep(0)  # type: ignore[assignment,method-assign]  # it is dead
            await on.executor.run_slice(session_id)
            assert (await on.on.client.show(session_id)).phase == "finalizing"
            assert await on.executor.run_slice(session_id) == "refused"  # somebody holds it, as far as anyone can tell

            await store.command("ZADD", store.keys.of_session("leases", session_id), "XX", 1, session_id)
            assert await on.executor.run_slice(session_id) == "committed"

            assert (await on.on.client.show(session_id)).phase == "ended"

    asyncio.run(play())


def test_a_drain_hands_the_settling_on(store_url: str) -> None:
    """A worker that is told to end begins no further step, this one included."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            on.draining = True
            session_id = await on.submit()

            await on.executor.run_slice(session_id)

            assert (await on.on.client.show(session_id)).phase == "finalizing"
            assert on.on.woken == [session_id]

    asyncio.run(play())


def test_a_wake_up_for_a_session_in_a_lane_is_looked_at_afterwards() -> None:
    """It may be for what came after that slice's claim was refused: dropped, it would come again only after seconds."""

    async def play() -> None:
        seen: list[str] = []
        gate = asyncio.Event()

        async def run(session_id: str) -> None:
            seen.append(session_id)
            await gate.wait()

        lanes = Lanes(2, run)
        lanes.start(asyncio.get_running_loop())
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-001"])
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-001", "S-20260101-001"])
        gate.set()
        await lanes.drain(5)

        assert seen == ["S-20260101-001"]  # draining takes nothing new

        lanes.draining = False
        gate.clear()
        seen.clear()
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-002"])
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-002", "S-20260101-002"])
        gate.set()
        while lanes.held:  # noqa: ASYNC110 - the loop only lets the lanes go on
            await asyncio.sleep(0)
        assert seen == ["S-20260101-002", "S-20260101-002"]

    asyncio.run(play())
