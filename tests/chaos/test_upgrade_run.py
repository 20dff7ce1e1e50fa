"""Baton itself is upgraded while sessions run, and taken back: processes of two versions side by side on one store."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from orchestrator.client import Client
from orchestrator.contracts.session import Cursor, Entry, Post
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings
from orchestrator.wiring import build_client
from tests.chaos.__main__ import parse
from tests.chaos.driver import Driver
from tests.chaos.fleet import Fleet, fleet_of, pause
from tests.chaos.havoc import Havoc
from tests.chaos.history import read_histories
from tests.chaos.ledger import settle_ledger
from tests.chaos.linear import Op
from tests.chaos.newer import NEWER, OLDER, find_format, read_both, write_newer
from tests.chaos.plan import API, ASKED, OUTSIDE, SCHEDULERS, STORES, WORKERS, StoreKind, make_plan
from tests.chaos.report import describe, render
from tests.chaos.run import Options, run
from tests.chaos.sides import Sides, count_sides, judge_sides

SEED = int(os.environ.get("CHAOS_SEED", "20261122"))
EVERYBODY = {*WORKERS, *SCHEDULERS, API, OUTSIDE}


@pytest.mark.parametrize("store", STORES)
def test_an_upgrade_is_drawn_beside_what_a_seed_always_drew(store: StoreKind) -> None:
    """A seed that failed once draws the same faults, with an upgrade beside them or without one."""
    for seed in range(1, 7):
        always = make_plan(seed, 60, lease_seconds=3, store=store)
        for also in ("upgrade", "downgrade"):
            plan = make_plan(seed, 60, lease_seconds=3, store=store, also=frozenset({also}))

            assert not {fault.what for fault in always} & ASKED
            assert tuple(fault for fault in plan if fault.what not in ASKED) == always
            assert plan == make_plan(seed, 60, lease_seconds=3, store=store, also=frozenset({also}))


@pytest.mark.parametrize("seed", range(20))
def test_everybody_is_upgraded_in_the_end(seed: int) -> None:
    """One after another, those outside among them; where it is taken back, nobody is left of the newer one in between."""
    newer: set[str] = set()
    fewest, back = [0], make_plan(seed, 60, lease_seconds=3, only=frozenset({"downgrade"}))
    for fault in back:
        assert (fault.slot in newer) == (fault.what == "downgrade")
        newer ^= {fault.slot}
        if fault.what == "downgrade":
            fewest.append(len(newer))
            assert (fault.lasts >= 2) == (not newer)

    assert newer == EVERYBODY
    assert fewest == [0, 1, 0]
    there = make_plan(seed, 60, lease_seconds=3, only=frozenset({"upgrade"}))
    assert {fault.what for fault in there} == {"upgrade"}
    assert sorted(fault.slot for fault in there) == sorted(EVERYBODY)


def test_an_upgrade_is_asked_for_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is drawn anyway, or chosen with --only."""
    _, options = parse(["--with", "downgrade", "--only", "kill"])

    assert (options.also, options.only) == (frozenset({"downgrade"}), frozenset({"kill"}))
    with pytest.raises(SystemExit):
        parse(["--with", "kill"])
    assert "--with: kill is not drawn on request; known: downgrade, upgrade" in capsys.readouterr().err


def test_what_a_newer_baton_writes_an_older_one_cannot_read() -> None:
    """Else no run would show anything: an older worker that is let at such a session has to bury it."""
    cursor, post = Cursor(skill="a", serial=3), Post(post_id="p", kind="signal", actor="ada")
    undo = write_newer()
    written = cursor.to_json()
    posted = post.to_json()
    undo()

    for shape, text in ((Cursor, written), (Post, posted)):
        with pytest.raises(ValidationError, match="written_in"):
            shape.from_json(text)
    undo = read_both()
    read = Cursor.from_json(written), Post.from_json(posted), Cursor.from_json(cursor.to_json())
    undo()
    assert read == (cursor, post, cursor)
    with pytest.raises(ValidationError, match="written_in"):
        Cursor.from_json(written)


def test_what_is_taken_back_is_noted_and_everybody_is_a_newer_one_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody of the newer one was there is what the report counts by; sessions have messages left until the last change."""
    said: list[bool] = []
    driver = SimpleNamespace(messages=24, use_newer=lambda *, is_newer: said.append(is_newer))
    fleet = SimpleNamespace(upgraded=set())
    plan = [replace(one, lasts=0.0) for one in make_plan(1, 5, lease_seconds=3, only=frozenset({"downgrade"}))]
    parts: dict[str, Any] = {"fleet": fleet, "driver": driver, "plan": plan, "history": tmp_path}
    havoc = Havoc(control=cast(Any, None), store=cast(Any, None), proxies={}, newer=Settings(), **parts)
    replaced: list[str] = []

    async def put(_: Havoc, slot: str) -> None:
        """Replace nobody."""
        replaced.append(slot)

    async def play() -> list[int]:
        """Carry the plan out, without its times."""
        allowed = [havoc.driver.allowed]
        for fault in plan:
            await havoc._strike(fault)
            allowed.append(havoc.driver.allowed)
        return allowed

    monkeypatch.setattr(Havoc, "_replace", put)

    assert asyncio.run(play()) == [24 * number // 13 for number in range(1, 14)]
    assert (fleet.upgraded, said, len(havoc.gaps)) == (EVERYBODY - {OUTSIDE}, [True], 1)
    assert replaced == [fault.slot for fault in plan if fault.slot != OUTSIDE]


def step(seq: int, written_in: int, at: int = 0) -> Entry:
    """Return a step's entry, as a Baton of that format wrote it."""
    field = f',"written_in":{written_in}' if written_in > OLDER else ""
    return Entry(kind="step", actor="w", seq=seq, at=at, set={"cursor": f'{{"skill":"a"{field}}}'})


def test_an_older_step_after_a_newer_one_is_found() -> None:
    """The promise of an upgrade; what only one of them touched, and what went from the older to the newer, keeps it."""
    other = Entry(kind="posted", actor="ada", seq=3)
    kept = {
        "A": [step(1, OLDER), other, step(4, NEWER)],
        "B": [step(1, OLDER)],
        "C": [step(1, NEWER), step(2, NEWER)],
    }

    assert judge_sides(kept) == []
    assert judge_sides({**kept, "D": [step(1, OLDER), step(2, NEWER), other, step(4, OLDER)]}) == [
        f"D: step 4 was taken in format {OLDER} after one in format {NEWER}"
    ]


def test_who_took_steps_and_who_waited_is_counted() -> None:
    """Of four sessions one was the newer's while it was gone, two were not, and one had ended before."""
    journals = {
        "A": [step(1, OLDER, at=5), step(2, NEWER, at=10), step(3, NEWER, at=50)],
        "B": [step(1, OLDER, at=5), step(2, OLDER, at=30), step(3, NEWER, at=60)],
        "C": [step(1, OLDER, at=20)],
        "D": [step(1, NEWER, at=15)],
    }
    told_off = Op("claim", (False,), 1, 2, "newer")
    histories = {"A": [told_off, told_off, Op("claim", (False,), 1, 2, "busy")]}

    assert count_sides(journals, histories, [(20, 50)]) == Sides(
        older=4, newer=4, both=2, left_alone=2, waited=1, went_on=2
    )


class Scene:
    """A fleet of both versions, and sessions that are driven."""

    def __init__(self, fleet: Fleet, client: Client, driver: Driver) -> None:
        self.fleet, self.client, self.driver = fleet, client, driver

    async def workers_alive(self, count: int) -> None:
        """Return once exactly so many workers are at work."""
        while sum(info.kind == "worker" for info in await self.client.workers()) != count:
            await pause(0.05)

    async def all_waiting(self) -> None:
        """Return once every session waits."""
        while {(await self.client.show(sid)).phase for sid in self.driver.told} != {"waiting"}:
            await pause(0.05)

    async def find_touched(self) -> set[str]:
        """Return the sessions that carry the newer format."""
        keys, found = self.client.store.keys, set()
        for sid in self.driver.told:
            if await self.client.store.command("HGET", keys.of_session("record", sid), "format") == str(NEWER):
                found.add(sid)
        return found

    async def count_steps(self, sids: set[str]) -> dict[str, int]:
        """Return how many steps were taken of each of these."""
        return {sid: sum([find_format(entry) is not None async for entry in self.client.events(sid)]) for sid in sids}


@pytest.fixture
def both() -> Iterator[None]:
    """Let those outside read what either version wrote."""
    undo = read_both()
    yield
    undo()


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")
@pytest.mark.usefixtures("both")
def test_a_way_back_holds_up_what_the_newer_one_has_touched_and_nothing_else(
    empty_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has touched waits, unharmed, however often an older worker is woken for it, and ends with one like it."""
    monkeypatch.setenv("CHAOS_LEDGER", str(tmp_path))
    for name in ("note", "permit", "act", "history"):
        (tmp_path / name).mkdir()

    async def play(on: Scene) -> None:
        fleet, driver = on.fleet, on.driver
        fleet.start("scheduler")
        fleet.start("worker", slot="older")
        await on.workers_alive(1)
        await driver.submit(8)
        told = list(driver.told.values())
        await on.all_waiting()
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            newer = fleet.start("worker", slot="newer")
            await on.workers_alive(2)
            first = [group.create_task(driver.drive(one)) for one in told[:4]]
            while not (touched := await on.find_touched()):
                await pause(0.02)

            await asyncio.to_thread(fleet.terminate, newer)
            touched = await on.find_touched()
            steps = await on.count_steps(touched)
            rest = [group.create_task(driver.drive(one)) for one in told[4:]]
            mine = [task for one, task in zip(told, [*first, *rest], strict=True) if one.session_id not in touched]
            await asyncio.gather(*mine)

            assert touched == await on.find_touched()
            assert await on.count_steps(touched) == steps
            assert {(await on.client.show(sid)).phase for sid in touched} <= {"ready", "waiting"}
            fleet.start("worker", slot="newer")
        ledger = await settle_ledger(on.client, driver)
        assert (ledger.wrong, ledger.ended) == ([], 8)
        assert judge_sides(ledger.journals) == []
        sides = count_sides(ledger.journals, read_histories(tmp_path / "history"), [])
        assert sides.both == len(touched)
        assert sides.left_alone > 0

    async def begin(fleet: Fleet) -> None:
        client = build_client(fleet.settings, fleet.store, load_installed_apps(fleet.settings))
        driver = Driver(client, tmp_path, seed=SEED, messages=8, spread_seconds=3, work_seconds=0.02)
        try:
            await play(Scene(fleet, client, driver))
        finally:
            await client.aclose()

    with fleet_of(empty_server.url, empty_server.broker_url, tmp_path, upgraded={"newer"}) as fleet:
        fleet.history = tmp_path / "history"
        asyncio.run(begin(fleet))


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")
def test_an_upgrade_in_the_middle_of_kills_keeps_every_promise() -> None:
    """With workers of both versions side by side that are killed meanwhile: nothing is lost,
    done twice, reordered, or buried because somebody could not read it, and in the end everybody is a newer one.
    """  # noqa: D205 - one sentence
    outcome = run(Options(seed=SEED, seconds=10, sessions=8, only=frozenset({"kill"}), also=frozenset({"upgrade"})))

    told = f"{render(describe(outcome))}\n{outcome.logs}"
    assert outcome.wrong == [], told
    assert outcome.ledger.ended == 8
    assert sum(fault.what == "upgrade" for fault in outcome.struck) == len(EVERYBODY), told
    assert outcome.sides.both == 8, told
