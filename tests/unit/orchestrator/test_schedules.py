"""The clock's triggers: one session a time, whatever schedulers look, and one for what was missed."""

import asyncio
from pathlib import Path
from typing import Any

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
