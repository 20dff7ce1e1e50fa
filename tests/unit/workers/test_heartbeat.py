"""The heartbeat: leases live as long as their holder does, and the fleet knows who is at work."""

import asyncio
import time
from typing import Any

import pytest

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.settings import Settings
from orchestrator.store.fleet import Fleet, WorkerInfo
from tests.unit.workers.scenes import scene
from workers.lanes import Lanes
from workers.slices import make_sure


def test_a_lease_is_extended_for_as_long_as_its_step_runs(store_url: str) -> None:
    """A model that thinks for a minute keeps its session, with a lease of seconds."""

    async def play() -> None:
        settings = Settings.model_validate({"lease": {"seconds": 30.0}, "apps": {"bundled": False}})
        async with scene(store_url, settings=settings) as on:
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            key = on.on.store.keys.of_session("leases", session_id)
            await on.on.store.command("ZADD", key, "XX", await on.on.store.now_ms() + 50, session_id)

            await on.renew()

            left = float(await on.on.store.command("ZSCORE", key, session_id)) - await on.on.store.now_ms()
            assert left > 25_000
            running.cancel()
            await running

    asyncio.run(play())


def test_a_store_in_trouble_stops_no_heartbeat(store_url: str) -> None:
    """The lease may run out meanwhile; a worker that gave up its heartbeat would lose all of them."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            await on.on.store.command("CONFIG", "SET", "maxmemory", 1)
            try:
                await on.renew()
            finally:
                await on.on.store.command("CONFIG", "SET", "maxmemory", 0)

            assert not running.done()
            on.step.go_on.set()
            assert await running == "committed"

    asyncio.run(play())


def test_only_a_renewal_that_was_granted_makes_a_lease_sure(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What acts outside the store rests on it: since when a lease runs is when the renewal was sent, not when it was tried."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            running = on.start(session_id)
            await on.step.began.wait()
            mine, renew, seen = on.executor.slices[session_id], on.heartbeat._leases.renew, list[float]()
            assert mine.kept <= mine.renewed

            async def away(*_: object) -> None:
                raise StoreUnreachable("store: away")

            async def slow(*args: Any) -> Any:
                seen.append(time.monotonic())
                return await renew(*args)

            for answer in (away, slow):
                mine.kept = 0.0
                monkeypatch.setattr(on.heartbeat._leases, "renew", answer)
                await on.renew()
                assert (mine.kept > 0.0) is (answer is slow)
            assert mine.kept <= seen[0]

            monkeypatch.setattr(on.host.leases, "renew", slow)
            await make_sure(on.host.leases, mine, lease_seconds=1000.0)
            assert len(seen) == 1, "nothing is asked while it is sure"
            await make_sure(on.host.leases, mine, lease_seconds=0.0)
            assert len(seen) == 2
            on.step.go_on.set()
            assert await running == "committed"

    asyncio.run(play())


def test_a_beat_is_told_in_one_turn_of_the_loop(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a tool blocks the loop, every answer that is waited for alone costs a turn of it, and a turn may be a second:
    the beat of just the worker that an operator looks for would be out of date when it is told.
    """  # noqa: D205 - one sentence

    async def play() -> None:
        async with scene(store_url) as on:
            store = on.on.store
            command, all_asked, asked = store.command, asyncio.Event(), []

            async def hold(*args: Any) -> Any:
                if args[0] != "TIME":
                    asked.append(args[0])
                    if len(asked) == 3:
                        all_asked.set()
                    await all_asked.wait()
                return await command(*args)

            monkeypatch.setattr(store, "command", hold)
            async with asyncio.timeout(60):
                await Fleet(store, beat_seconds=5).beat(WorkerInfo(name="a:1:x"))

            assert sorted(asked) == ["HGET", "HSET", "ZADD"]

    asyncio.run(play())


@pytest.mark.parametrize("how", ["commit", "release", "too_large", "unknown_skill"])
def test_a_lease_that_its_holder_gives_back_is_not_lost(
    store_url: str, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal on a connection of its own may come behind the act that gives the lease back, and before that act's answer."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            if how == "too_large":
                on.step.result = {"text": "x" * 300_000}
            if how == "unknown_skill":
                gone = (await on.on.client.show(session_id)).cursor.model_copy(update={"skill": "gone"})
                await on.on.store.command(
                    "HSET", on.on.store.keys.of_session("record", session_id), "cursor", gone.to_json()
                )
            act, overtaken = on.host.store.act, 0

            async def then_renew(name: str, *args: Any, **named: Any) -> Any:
                nonlocal overtaken
                reply = await act(name, *args, **named)
                if name in {"commit", "release", "bury"} and reply[0] != "large":
                    overtaken += 1
                    await on.renew()
                return reply

            monkeypatch.setattr(on.host.store, "act", then_renew)
            running = on.start(session_id)
            if how != "unknown_skill":
                await on.step.began.wait()
            if how == "release":
                running.cancel()
            on.step.go_on.set()

            assert await running == ("released" if how == "release" else "committed")
            assert overtaken == 1
            if how == "unknown_skill":
                record = await on.on.client.show(session_id)
                assert (record.phase, record.reason) == ("dead", "unknown_skill")
            assert "is lost" not in caplog.text

    asyncio.run(play())


def test_a_worker_says_what_it_is(store_url: str) -> None:
    """Schedulers count its slots, operators see its load, and adoption asks for its versions."""

    async def play() -> None:
        async with scene(store_url) as on:
            told = on.heartbeat.describe()
            await on.on.client.fleet.beat(told)

            [seen] = await on.on.client.workers()
            assert (seen.name, seen.slots, seen.queues, seen.kind) == (on.host.name, 4, ("steps",), "worker")
            assert seen.digests == {"plain": on.host.apps["plain"].digest}
            assert seen.rss_bytes > 0

    asyncio.run(play())


def test_a_draining_worker_offers_no_slots(store_url: str) -> None:
    """Nobody sends work to one who takes none."""

    async def play() -> None:
        async with scene(store_url) as on:
            lanes: Lanes = on.heartbeat._lanes
            lanes.draining = True

            told = on.heartbeat.describe()

            assert (told.slots, told.draining) == (0, True)

    asyncio.run(play())


def test_an_operators_order_is_heard_at_the_next_beat(store_url: str) -> None:
    """`baton drain` leaves it in the store; the worker reads it when it says that it lives."""

    async def play() -> None:
        settings = Settings.model_validate({"worker": {"heartbeat_seconds": 0.1}, "apps": {"bundled": False}})
        async with scene(store_url, settings=settings) as on:
            beating = asyncio.create_task(on.heartbeat.beat_forever())
            await on.on.client.fleet.order(on.host.name, "drain")

            await on.heartbeat.drain_ordered.wait()

            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    asyncio.run(play())
