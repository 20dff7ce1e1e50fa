"""Bells: a submission or a post is under way at once, and still nobody goes before those who wait longer."""

import asyncio
import math
import time
from collections.abc import Collection

import pytest

from orchestrator import scheduler as scheduler_module
from orchestrator.scheduler import BELL_SECONDS, LEAST_SLOTS, Round, Scheduler
from orchestrator.store.wire import ServerRefused
from tests.line import SECONDS, Taken, line


def test_a_bell_is_answered_by_a_look_at_its_session_alone(store_url: str) -> None:
    """A submission to a quiet store is under way after one look, however many partitions there are."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            broker = Taken()
            scheduler = on.scheduler("s", broker)
            await scheduler.round()
            named = await on.submit("a", 1)

            assert scheduler._will_do(set(named))
            done = await scheduler.round_of(named)

            assert (done.partitions, done.sent, broker.sent) == (1, named, named)
            assert (await scheduler.round()).sent == []

    asyncio.run(play())


def test_a_bell_gives_nobody_a_turn_before_those_who_wait_longer(store_url: str) -> None:
    """With somebody in line, or an app that has a limit, only a look at all of them knows whose turn it is."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            scheduler = on.scheduler("s", Taken())
            assert not scheduler._will_do({"PLN-20260101-001"})  # it has not looked at all yet
            await on.submit("a", 2 * LEAST_SLOTS + 1)
            await scheduler.round()
            assert not scheduler._will_do({"PLN-20260101-001"})
            assert not scheduler._will_do({""})  # it could not listen for a while
        async with line(store_url, narrow={"max_running": 3}) as on:
            scheduler = on.scheduler("s", Taken())
            await scheduler.round()
            assert not scheduler._will_do({"PLN-20260101-001"})

    asyncio.run(play())


def test_bells_leave_room_for_what_is_under_way_elsewhere(store_url: str) -> None:
    """The broker gets no more than twice the slots, also when each bell looks at another partition."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            broker = Taken()
            scheduler = on.scheduler("s", broker)
            await scheduler.round()

            for session_id in await on.submit("a", 2 * LEAST_SLOTS + 3):
                await scheduler.round_of([session_id])

            assert len(broker.sent) == 2 * LEAST_SLOTS

    asyncio.run(play())


def test_a_bell_while_the_broker_is_away_leaves_its_session_in_line(store_url: str) -> None:
    """Nothing is marked as sent that was not: the next round finds it."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            broker = Taken()
            scheduler = on.scheduler("s", broker)
            await scheduler.round()
            named = await on.submit("a", 1)
            broker.away = True

            assert (await scheduler.round_of(named)).sent == []
            broker.away = False
            assert (await scheduler.round()).sent == named

    asyncio.run(play())


class Looks:
    """Stands in for a scheduler's rounds: what counts here is only when they begin."""

    def __init__(self, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rests: list[float] = []
        self.begun = asyncio.Event()
        self._ended = -math.inf
        self._scheduler = scheduler
        for name in ("round", "round_of"):
            monkeypatch.setattr(scheduler, name, self.look)
        monkeypatch.setattr(scheduler, "_listen", self.listen)

    async def listen(self) -> None:
        """Hear nothing: the test rings itself."""

    async def look(self, _: Collection[str] = ()) -> Round:
        """Note for how long the scheduler rested, and want no round for a long time."""
        self.rests.append(time.monotonic() - self._ended)
        self._scheduler._round_due_at = time.monotonic() + SECONDS
        self._ended = time.monotonic()
        self.begun.set()
        return Round()

    async def ring_until(self, count: int) -> None:
        """Ring again and again until there were so many looks."""
        while len(self.rests) < count:
            self._scheduler._ring("PLN-20260101-001")
            await asyncio.sleep(0)


def test_a_burst_of_bells_is_answered_in_few_rounds(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred submissions must not be a hundred looks one right after the other."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            scheduler = on.scheduler("s", Taken())
            looks = Looks(scheduler, monkeypatch)
            running = asyncio.create_task(scheduler.run())

            await looks.ring_until(10)

            scheduler.stop()
            await running
            assert min(looks.rests[1:]) >= BELL_SECONDS * 0.9

    asyncio.run(play())


def test_a_lone_bell_is_answered_at_once(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what follows right after another round waits: here nobody has rung for two hours, and rounds are an hour apart."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            monkeypatch.setattr(scheduler_module, "BELL_SECONDS", 3_600.0)
            scheduler = on.scheduler("s", Taken())
            looks = Looks(scheduler, monkeypatch)
            running = asyncio.create_task(scheduler.run())
            await looks.begun.wait()  # the first look, for which nobody rings
            scheduler._round_ended_at -= 7_200

            await looks.ring_until(2)

            running.cancel()  # the round that follows would wait its hour
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(play())


def test_a_server_that_does_not_let_itself_be_heard_yet_is_asked_again(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that has just started refuses for as long as it loads: a scheduler that gave up would be slow for good."""
    asked = asyncio.Queue[str]()

    class Starting:
        async def subscribe(self, channel: str, _: object) -> None:
            asked.put_nowait(channel)
            raise ServerRefused("LOADING Valkey is loading the dataset in memory")

        async def aclose(self) -> None:
            return

    async def play() -> None:
        async with line(store_url, a={}) as on:
            monkeypatch.setattr(scheduler_module, "open_wire", lambda _: Starting())
            monkeypatch.setattr(scheduler_module, "LOOK_SECONDS", 0.0)
            listening = asyncio.create_task(on.scheduler("s", Taken())._listen())
            for _ in range(2):
                again = asyncio.create_task(asked.get())
                await asyncio.wait({listening, again}, return_when=asyncio.FIRST_COMPLETED)
                again.cancel()

            assert not listening.done()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(play())
