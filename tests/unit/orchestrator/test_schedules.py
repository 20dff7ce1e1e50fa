"""The clock's triggers: one session a time, whatever schedulers look, and one for what was missed."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import triggers as triggers_module
from orchestrator.app_loader import load_app
from orchestrator.client import Client
from orchestrator.schedules import Schedules
from orchestrator.store.keys import SCHEDULES
from tests.stage import Stage, stage

FOLDER = Path(__file__).parents[2] / "apps" / "triggered"
MINUTE = 60_000


def play(store_url: str, act: Any) -> Any:
    """Do something with a store and the app of triggers."""
    spec = load_app(FOLDER)

    async def run() -> Any:
        async with stage(store_url) as on:
            on.specs = {spec.name: spec}
            on.client = Client(on.store, on.specs)
            return await act(on)

    return asyncio.run(run())


async def pretend(on: Stage, handled_ms_ago: int) -> int:
    """Let the schedule have been handled last so long ago; return now."""
    now = await on.store.now_ms()
    await on.store.command("HSET", SCHEDULES, "every_minute", now - handled_ms_ago)
    return now


def test_a_new_schedule_begins_now(store_url: str) -> None:
    """It does not make up for the time before it was there."""

    async def act(on: Stage) -> list[str]:
        return await Schedules(on.store, on.client, on.specs).look()

    assert play(store_url, act) == []


def test_schedulers_that_look_at_once_start_one_session(store_url: str) -> None:
    """Any number of schedulers runs; a time comes once, in the trigger's name, with its payload."""

    async def act(on: Stage) -> tuple[list[str], Any, list[str]]:
        await pretend(on, MINUTE)
        many = [Schedules(on.store, on.client, on.specs) for _ in range(5)]
        found = [one for started in await asyncio.gather(*(each.look() for each in many)) for one in started]
        again = await Schedules(on.store, on.client, on.specs).look()
        return found, await on.client.show(found[0]), again

    found, record, again = play(store_url, act)

    assert len(found) == 1
    assert again == []
    assert (record.actor, record.text, record.state) == ("trigger:every_minute", "tick", {"level": 3})


def test_times_that_were_missed_are_made_up_for_once_and_not_too_late(store_url: str) -> None:
    """After a night without a scheduler there is one session and not a thousand; what is too old is left out."""

    async def act(on: Stage) -> tuple[int, int]:
        await pretend(on, 8 * 3600_000)
        late = len(await Schedules(on.store, on.client, on.specs).look())
        groups = await on.client.counts()
        return late, groups["triggered"]["ready"]

    assert play(store_url, act) == (1, 1)


def test_a_schedule_that_fails_is_tried_again_and_stops_no_other(store_url: str, caplog: Any) -> None:
    """A payload that the app refuses is told in the log at every look, until it is mended."""

    async def act(on: Stage) -> list[str]:
        spec = on.specs["triggered"]
        bad = spec.triggers[4].model_copy(update={"name": "bad", "payload": {"state": {"unknown": 1}}})
        specs = {"triggered": spec.model_copy(update={"triggers": (bad, *spec.triggers)})}
        await pretend(on, MINUTE)
        await on.store.command("HSET", SCHEDULES, "bad", 1)
        schedules = Schedules(on.store, on.client, specs)
        return [*await schedules.look(), *await schedules.look()]

    assert len(play(store_url, act)) == 1
    assert caplog.text.count("schedule bad of triggered") == 2


def test_a_clock_that_ran_ahead_for_a_moment_holds_up_no_schedule(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose clock is put right goes on as clocks go: what was handled in a year that was none is no reason to wait for it."""

    async def act(on: Stage) -> list[int]:
        right = await on.store.now_ms()
        ahead = right + 400 * 24 * 60 * MINUTE
        before, after = Schedules(on.store, on.client, on.specs), Schedules(on.store, on.client, on.specs)

        async def look_at(now: int, schedules: Schedules) -> int:
            async def tell() -> int:
                return now

            monkeypatch.setattr(on.store, "now_ms", tell)
            started = len(await schedules.look())
            monkeypatch.undo()
            return started

        looks = [(right, before), (right + MINUTE, before), (ahead, before), (ahead + MINUTE, before)]
        looks += [(right + 2 * MINUTE, before), (right + 3 * MINUTE, before), (right + 3 * MINUTE, after)]
        looks += [(right + 4 * MINUTE, after), (right + 4 * MINUTE, before)]
        return [await look_at(now, schedules) for now, schedules in looks]

    assert play(store_url, act) == [0, 1, 1, 1, 0, 1, 0, 1, 0]


def test_a_clock_that_is_put_back_a_little_starts_nothing_again(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same minute comes twice then, and was handled once."""

    async def act(on: Stage) -> list[int]:
        minute = await on.store.now_ms() // MINUTE * MINUTE
        await on.store.command("HSET", SCHEDULES, "every_minute", minute - 1)
        told = []
        for now in (minute + 5, minute - 30_000, minute + 5, minute + MINUTE + 5):

            async def tell(now: int = now) -> int:
                return now

            monkeypatch.setattr(on.store, "now_ms", tell)
            told.append(len(await Schedules(on.store, on.client, on.specs).look()))
            monkeypatch.undo()
        return told

    assert play(store_url, act) == [1, 0, 0, 1]


def test_a_transform_that_does_not_come_back_stops_no_scheduler(
    store_url: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Who looks at schedules wakes sessions, too: they must not wait for a function of one app. What it says in the end still counts."""
    monkeypatch.setattr("orchestrator.schedules.PATIENCE_SECONDS", 0.01)
    may_go, begun = threading.Event(), []

    def wait(payload: Any) -> Any:
        begun.append(payload)
        may_go.wait()
        return payload

    async def act(on: Stage) -> tuple[list[int], int]:
        spec = on.specs["triggered"]
        slow = spec.triggers[4].model_copy(update={"name": "slow", "transform": "steps.py:wait"})
        monkeypatch.setattr(triggers_module, "load_function", lambda _spec, _name: wait)
        specs = {"triggered": spec.model_copy(update={"triggers": (slow, *spec.triggers)})}
        await on.store.command("HSET", SCHEDULES, "slow", 1)
        now = await pretend(on, MINUTE)

        async def tell() -> int:
            return now

        monkeypatch.setattr(on.store, "now_ms", tell)
        schedules = Schedules(on.store, on.client, specs)
        async with asyncio.timeout(120):
            try:
                first, second = await schedules.look(), await schedules.look()
            finally:
                may_go.set()
            while not (last := await schedules.look()):
                pass
        return [len(first), len(second), len(last)], len(begun)

    started, times = play(store_url, act)

    assert (started, times) == ([1, 0, 1], 1)
    assert "schedule slow of triggered" in caplog.text
