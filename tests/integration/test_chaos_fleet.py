"""What a fleet does when single things go wrong: real workers under Celery, each case by itself.

A drain, a step that kills its worker, a record that cannot be read, two versions of one app. The minute of everything
at once is in test_chaos.py.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import Client
from orchestrator.contracts.session import Record
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from orchestrator.installed import load_installed_apps
from orchestrator.settings import Settings
from orchestrator.wiring import build_client
from tests.chaos.fleet import APPS, Fleet, Member, fleet_of, pause, quick_settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

Act = Callable[[Fleet, Client], Awaitable[None]]
#: No machine holds a process up for so long: what these tests show is not what becomes of a worker that stood still.
LONG_LEASES = {"seconds": 120.0, "renew_seconds": 1.0}


def play(server: RunningServer, folder: Path, act: Act, *, settings: Settings | None = None) -> None:
    """Run an act with a fleet and a client of its own."""

    async def run(fleet: Fleet) -> None:
        client = build_client(fleet.settings, fleet.store, load_installed_apps(fleet.settings))
        try:
            async with asyncio.timeout(300):
                await act(fleet, client)
        finally:
            await client.aclose()

    with fleet_of(server.url, server.broker_url, folder, settings=settings) as fleet:
        asyncio.run(run(fleet))


async def submit(client: Client, count: int = 1, app: str = "plain", **overrides: Any) -> list[str]:
    """Submit sessions."""
    made = [await client.submit(app, overrides=overrides, actor="ada") for _ in range(count)]
    return [one.session_id for one in made]


async def wait_until(client: Client, session_ids: list[str], test: Callable[[Record], bool]) -> list[Record]:
    """Return the sessions once each of them has passed the test."""
    while True:
        records = [await client.show(one) for one in session_ids]
        if all(test(record) for record in records):
            return records
        await pause(0.05)


async def workers_alive(client: Client, count: int) -> None:
    """Return once exactly so many workers are alive."""
    while sum(info.kind == "worker" for info in await client.workers()) != count:
        await pause(0.05)


async def leases(client: Client) -> int:
    """Return how many sessions are held."""
    keys = client.store.keys
    return sum(
        [int(await client.store.command("ZCARD", keys.of_partition("leases", n))) for n in range(keys.partitions)]
    )


async def terminate(fleet: Fleet, member: Member) -> int:
    """Ask a process to end, and wait beside the loop."""
    return await asyncio.to_thread(fleet.terminate, member, 120)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_terminated_worker_commits_the_step_that_runs(empty_server: RunningServer, tmp_path: Path, pool: str) -> None:
    """SIGTERM within the grace: every step is finished once, no lease is left, and another goes on at once."""

    async def act(fleet: Fleet, client: Client) -> None:
        first = fleet.start("worker", pool=pool, concurrency=1)
        fleet.start("scheduler")
        await workers_alive(client, 1)
        held = tmp_path / "held"
        held.touch()
        session_ids = await submit(client, 8, of=2, held=str(held))
        await wait_until(client, session_ids, lambda record: record.phase == "running")

        ending = asyncio.create_task(terminate(fleet, first))
        while not any(info.draining for info in await client.workers()):
            await pause(0.05)
        held.unlink()
        code = await ending

        records = [await client.show(one) for one in session_ids]
        assert code == 0
        assert {(one.phase, one.state.get("n"), one.attempts) for one in records} == {("ready", 1, 0)}
        assert await leases(client) == 0
        assert "worker" not in {info.kind for info in await client.workers()}
        fleet.start("worker", pool=pool)
        for record in await wait_until(client, session_ids, lambda record: record.phase == "ended"):
            kinds = [entry.kind async for entry in client.events(record.session_id)]
            assert "orphaned" not in kinds
            assert record.state["n"] == 2

    worker = {"heartbeat_seconds": 0.5, "grace_seconds": 90.0}
    play(empty_server, tmp_path, act, settings=quick_settings(worker=worker, lease=LONG_LEASES))


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_terminated_worker_hands_back_what_takes_too_long(
    empty_server: RunningServer, tmp_path: Path, pool: str
) -> None:
    """SIGTERM past the grace: the step is given up, the session is ready, its attempt does not count."""

    async def act(fleet: Fleet, client: Client) -> None:
        first = fleet.start("worker", pool=pool, concurrency=1)
        scheduler = fleet.start("scheduler")
        await workers_alive(client, 1)
        session_ids = await submit(client, 5, seconds=300)
        await wait_until(client, session_ids, lambda record: record.phase == "running")
        await terminate(fleet, scheduler)

        code = await terminate(fleet, first)

        assert code == 0
        assert await leases(client) == 0
        for session_id in session_ids:
            record = await client.show(session_id)
            kinds = [entry.kind async for entry in client.events(session_id)]
            assert (record.phase, record.attempts, kinds) == ("ready", 0, ["submitted", "released"])

    worker = {"heartbeat_seconds": 0.5, "grace_seconds": 0.5}
    play(empty_server, tmp_path, act, settings=quick_settings(worker=worker, lease=LONG_LEASES))


def test_a_step_that_kills_its_worker_becomes_a_dead_letter(empty_server: RunningServer, tmp_path: Path) -> None:
    """It is tried so often and no more, the pool comes back each time, and other sessions end as they should."""

    async def act(fleet: Fleet, client: Client) -> None:
        fleet.start("worker", pool="prefork", concurrency=2)
        fleet.start("scheduler")
        await workers_alive(client, 2)
        [poison] = await submit(client, app="poison", poison=True)
        harmless = await submit(client, 5, app="poison")

        [dead] = await wait_until(client, [poison], lambda record: record.phase == "dead")

        assert (dead.reason, dead.state) == ("attempts", {"poison": True})
        kinds = [entry.kind async for entry in client.events(poison)]
        assert kinds == ["submitted", "orphaned", "orphaned", "orphaned", "buried"]
        assert [one for one, _ in await client.dead_letters()] == [poison]
        ended = await wait_until(client, harmless, lambda record: record.phase == "ended")
        assert {record.status for record in ended} == {"done"}

    settings = quick_settings(lease={"seconds": 3.0, "renew_seconds": 0.3, "max_attempts": 3})
    play(empty_server, tmp_path, act, settings=settings)


def test_a_session_that_cannot_be_read_becomes_a_dead_letter(empty_server: RunningServer, tmp_path: Path) -> None:
    """No worker and no scheduler ends by it or tries for ever, whatever is broken; the others go on."""

    async def act(fleet: Fleet, client: Client) -> None:
        broken = await submit(client, 4)
        missing = broken.pop()
        fields = {"cursor": "{", "state": "[]", "seq": "x"}
        for session_id, (field, value) in zip(broken, fields.items(), strict=True):
            key = client.store.keys.of_session("record", session_id)
            await client.store.command("HSET", key, field, value)
        await client.store.command("DEL", client.store.keys.of_session("record", missing))
        good = await submit(client, 3)
        members = [fleet.start("worker"), fleet.start("scheduler")]

        await wait_until(client, good, lambda record: record.phase == "ended")
        while sorted(one for one, _ in await client.dead_letters()) != sorted(broken):
            await pause(0.05)

        assert {info["reason"] for _, info in await client.dead_letters()} == {"unreadable"}
        assert [member.process.poll() for member in members] == [None, None]
        counts = await client.counts()
        assert (counts["plain"]["ready"], counts["plain"]["running"]) == (0, 0)

    play(empty_server, tmp_path, act)


def test_a_session_stays_with_its_apps_version_while_somebody_has_it(
    empty_server: RunningServer, tmp_path: Path
) -> None:
    """A rolling deploy: old sessions end under the old version; the last ones are adopted when nobody has it."""
    newer = tmp_path / "newer"
    shutil.copytree(APPS, newer, ignore=shutil.ignore_patterns("__pycache__"))
    declared = newer / "plain" / "app.yaml"
    declared.write_text(declared.read_text() + "version: '2'\n")
    beats = {"heartbeat_seconds": 4.0, "grace_seconds": 5.0}  # a worker that is silent for three of them is gone
    new_settings = quick_settings(newer, worker=beats)

    async def act(fleet: Fleet, client: Client) -> None:
        old = fleet.start("worker")
        await workers_alive(client, 1)
        [old_name] = [info.name for info in await client.workers()]
        fleet.settings = new_settings
        fleet.start("worker")
        fleet.start("scheduler")
        await workers_alive(client, 2)
        pinned = await submit(client, 6, of=3, seconds=0.05)

        records = await wait_until(client, pinned, lambda record: record.phase == "ended")

        assert {record.spec for record in records} == {client.specs["plain"].digest()}
        for record in records:
            actors = {entry.actor async for entry in client.events(record.session_id) if entry.kind == "step"}
            assert actors == {old_name}

        fleet.kill(old)
        left_over = await submit(client, 3)
        records = await wait_until(client, left_over, lambda record: record.phase == "ended")
        assert {record.spec for record in records} == {load_installed_apps(new_settings)["plain"].digest()}

    play(empty_server, tmp_path, act, settings=quick_settings(worker=beats))


def test_no_more_than_max_running_sessions_run_at_once(empty_server: RunningServer, tmp_path: Path) -> None:
    """With two schedulers and lanes for hundreds: the journals' own times show how many were at work together."""
    apps = tmp_path / "apps"
    shutil.copytree(APPS / "plain", apps / "plain", ignore=shutil.ignore_patterns("__pycache__"))
    declared = apps / "plain" / "app.yaml"
    declared.write_text(declared.read_text() + "max_running: 2\n")

    async def act(fleet: Fleet, client: Client) -> None:
        for role in ("worker", "scheduler", "scheduler"):
            fleet.start(role)
        await workers_alive(client, 1)
        session_ids = await submit(client, 8, seconds=0.3)

        await wait_until(client, session_ids, lambda record: record.phase == "ended")

        spans = []
        for session_id in session_ids:
            steps = [entry async for entry in client.events(session_id) if entry.step == "compute"]
            spans.append((steps[0].fence, steps[-1].at))  # a fence is the time of its claim
        together = max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
        assert together == 2

    play(empty_server, tmp_path, act, settings=quick_settings(apps))
