"""Lanes: how many sessions a process holds, who waits, and what a drain leaves behind."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from workers import lanes as lanes_module
from workers.admission import Pace
from workers.lanes import Lanes

Scene = Callable[[], Awaitable[None]]
SECONDS = 60.0


def play(scene: Scene) -> None:
    """Run a scene on a loop of its own, within a time."""

    async def within() -> None:
        async with asyncio.timeout(SECONDS):
            await scene()

    asyncio.run(within())


class Work:
    """Sessions that are at work until they are told to end."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.ended: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []
        self.seen: list[str] = []

    async def run(self, session_id: str) -> None:
        self.seen.append(session_id)
        self.ended[session_id] = asyncio.Event()
        self.begun.put_nowait(session_id)
        try:
            await self.ended[session_id].wait()
        except asyncio.CancelledError:
            self.cancelled.append(session_id)
            raise


async def hand_over(lanes: Lanes, *session_ids: str) -> int:
    """Hand over from a thread, as a Celery task does."""
    return await asyncio.to_thread(lanes.hand_over, session_ids)


async def someone_waits(lanes: Lanes) -> None:
    """Return once a thread waits for a lane; it says so by a count, for which there is no event."""
    while not lanes.is_contended():  # noqa: ASYNC110 - the loop only lets the thread go on
        await asyncio.sleep(0)


def test_a_task_blocks_only_while_no_lane_is_free() -> None:
    """Back-pressure: what we cannot hold stays with the broker, for others."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(2, work.run)
        lanes.start(asyncio.get_running_loop())
        assert await hand_over(lanes, "a", "b") == 2
        assert {await work.begun.get(), await work.begun.get()} == {"a", "b"}

        third = asyncio.create_task(hand_over(lanes, "c"))
        await someone_waits(lanes)
        assert (lanes.held, third.done()) == (2, False)
        work.ended["a"].set()

        assert await third == 1
        assert await work.begun.get() == "c"
        assert not lanes.is_contended()
        await lanes.drain(0)

    play(scene)


def test_a_task_blocks_while_too_many_sessions_start() -> None:
    """Their leases run before their claims' answers are read: the next ones come when half of them are known."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(9, work.run, pace=Pace(most_starting=2))
        lanes.start(asyncio.get_running_loop())
        rest = asyncio.create_task(hand_over(lanes, "a", "b", "c", "d"))
        assert {await work.begun.get(), await work.begun.get()} == {"a", "b"}
        while lanes._waiting == 0:  # noqa: ASYNC110 - the loop only lets the thread go on
            await asyncio.sleep(0)

        assert (lanes.held, rest.done(), lanes.is_contended()) == (2, False, False)  # nobody's slice has to end for it
        lanes.started("a")
        assert {await work.begun.get()} == {"c"}
        lanes.started("b")
        lanes.started("b")  # said twice, counted once
        assert {await work.begun.get()} == {"d"}
        assert (await rest, lanes.held) == (4, 4)
        await lanes.drain(0)

    play(scene)


def test_a_session_that_ends_before_it_started_makes_room_as_well() -> None:
    """Its claim was refused, or its wake-up was a second one."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(9, work.run, pace=Pace(most_starting=1))
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a")
        assert await work.begun.get() == "a"
        second = asyncio.create_task(hand_over(lanes, "b"))
        work.ended["a"].set()

        assert await work.begun.get() == "b"
        lanes.started("b")
        await hand_over(lanes, "b")
        third = asyncio.create_task(hand_over(lanes, "c"))
        assert await work.begun.get() == "c"
        assert (await second, await third) == (1, 1)
        await lanes.drain(0)

    play(scene)


def test_a_loop_that_is_late_takes_nothing_new_until_it_is_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leases that it has go before those that it might have."""
    monkeypatch.setattr(lanes_module, "LAG_SECONDS", 3_600.0)  # it looks when the test says so

    async def scene() -> None:
        work = Work()
        lanes = Lanes(9, work.run, pace=Pace(most_lag_seconds=0.2))
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a")
        assert await work.begun.get() == "a"
        lanes.lag_ms = 300.0
        waiting = asyncio.create_task(hand_over(lanes, "b"))

        while lanes._waiting == 0:  # noqa: ASYNC110 - the loop only lets the thread go on
            await asyncio.sleep(0)
        assert work.seen == ["a"]
        lanes._measure()  # the next look finds the loop in time
        assert await work.begun.get() == "b"
        assert await waiting == 1
        await lanes.drain(0)

    play(scene)


def test_a_stall_is_told_even_when_the_latest_look_found_the_loop_in_time() -> None:
    """A beat tells the worst since the beat before, whether the look that was due has come or not; then it is forgotten."""

    async def scene() -> None:
        lanes = Lanes(1, Work().run)
        lanes.start(asyncio.get_running_loop())
        lanes._expected = time.monotonic() - 50
        lanes._measure()
        lanes._measure()

        assert lanes.lag_ms < 40_000
        assert lanes.take_worst_lag_ms() >= 50_000
        assert lanes.take_worst_lag_ms() < 40_000
        lanes._expected = time.monotonic() - 50
        assert lanes.take_worst_lag_ms() >= 50_000

    play(scene)


def test_stalls_in_step_with_the_looks_are_told_whole() -> None:
    """A look falls into the middle of each; a tool that blocks the loop for a second would be told as half of one, for ever."""

    async def scene() -> None:
        lanes = Lanes(1, Work().run)
        lanes.start(asyncio.get_running_loop())  # looks half a second from here
        await hand_over(lanes, "a")
        for _ in range(2):
            threading.Event().wait(0.3)
            window = asyncio.get_running_loop().time() + 0.02
            while asyncio.get_running_loop().time() < window:
                await asyncio.to_thread(bool)

        assert lanes.take_worst_lag_ms() >= 180
        await lanes.drain(0)

    play(scene)


def test_a_session_is_never_in_two_lanes() -> None:
    """A doubled wake-up finds its session at work; it is looked at again afterwards, not at the same time."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(4, work.run)
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a", "a", "a")
        assert await work.begun.get() == "a"

        assert (lanes.held, work.seen) == (1, ["a"])
        work.ended["a"].set()
        assert await work.begun.get() == "a"  # the wake-up that came meanwhile may be for what that slice did not see
        assert lanes.held == 1
        work.ended["a"].set()
        await lanes.drain(1)
        assert work.seen == ["a", "a"]

    play(scene)


def test_a_drain_lets_slices_end_within_the_grace_and_takes_nothing_new() -> None:
    """A deploy waits for the step that runs, not for the one after it."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(2, work.run)
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a")
        await work.begun.get()
        draining = asyncio.create_task(lanes.drain(SECONDS))
        await asyncio.sleep(0)

        assert await hand_over(lanes, "b") == 0
        work.ended["a"].set()

        assert await draining == 0
        assert (work.cancelled, work.seen) == ([], ["a"])

    play(scene)


def test_a_drain_stops_what_outlives_the_grace() -> None:
    """Its slice is cancelled, and hands its session back."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(2, work.run)
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a", "b")
        await work.begun.get()
        await work.begun.get()

        stopped = await lanes.drain(0)

        assert stopped == 2
        assert sorted(work.cancelled) == ["a", "b"]
        assert lanes.held == 0

    play(scene)


def test_a_thread_that_waits_for_a_lane_is_let_go_by_a_drain() -> None:
    """A pool that never returns would keep the process from ending."""

    async def scene() -> None:
        work = Work()
        lanes = Lanes(1, work.run)
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a")
        await work.begun.get()
        taken: list[int] = []
        waiting = threading.Thread(target=lambda: taken.append(lanes.hand_over(["b"])))
        waiting.start()
        await someone_waits(lanes)

        await lanes.drain(0)
        await asyncio.to_thread(waiting.join)

        assert taken == [0]

    play(scene)


def test_a_thread_that_waits_for_a_lane_is_let_go_where_its_pool_is_waited_for() -> None:
    """The drain begins only once the pool's threads have returned, where a signal is none of those that tell of it."""

    async def scene() -> None:
        work, ending = Work(), threading.Event()
        lanes = Lanes(1, work.run, is_ending=ending.is_set)
        lanes.start(asyncio.get_running_loop())
        await hand_over(lanes, "a")
        await work.begun.get()
        waiting = asyncio.create_task(hand_over(lanes, "b"))
        await someone_waits(lanes)

        ending.set()

        assert await waiting == 0
        assert (lanes.held, work.seen) == (1, ["a"])
        await lanes.drain(0)

    play(scene)


def test_a_slice_that_fails_frees_its_lane() -> None:
    """Its session is rescued when its lease is over; the lane serves others at once."""

    async def scene() -> None:
        ran = asyncio.Queue[str]()

        async def fail(session_id: str) -> None:
            ran.put_nowait(session_id)
            raise ValueError(session_id)

        lanes = Lanes(1, fail)
        lanes.start(asyncio.get_running_loop())
        assert await hand_over(lanes, "a", "b", "c") == 3

        assert [await ran.get() for _ in range(3)] == ["a", "b", "c"]

    play(scene)
