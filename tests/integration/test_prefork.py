"""A pool that forks ends as one of threads does: what blocks a child, a lane that is not free or an operator's drain, ends with its parent."""

import asyncio
import signal
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from tests.chaos.fleet import Fleet, pause, quick_settings
from tests.integration.test_chaos_fleet import LONG_LEASES, leases, play, submit, terminate, wait_until, workers_alive
from workers.celery_app import make_celery
from workers.wakeups import CeleryWakeups

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

WORKER = {"heartbeat_seconds": 0.5, "grace_seconds": 0.5}


async def wake(fleet: Fleet, session_id: str) -> None:
    """Send a wake-up, and return once somebody has taken it from the broker."""
    wakeups = CeleryWakeups(make_celery(fleet.settings, fleet.broker), fleet.settings)
    queue = fleet.settings.queues.steps
    await asyncio.to_thread(wakeups.send, queue, [session_id])
    while await asyncio.to_thread(wakeups.backlog, queue):
        await pause(0.05)


async def drain_all(client: Client) -> None:
    """Order every worker to drain, and return once each of them does."""
    for info in await client.workers():
        await client.drain_worker(info.name)
    while not all(info.draining for info in await client.workers()):
        await pause(0.05)


async def fill_lanes(fleet: Fleet, client: Client) -> None:
    """Let a session that takes very long hold the only lane."""
    [held] = await submit(client, seconds=300)
    await wake(fleet, held)
    await wait_until(client, [held], lambda record: record.phase == "running")


@pytest.mark.parametrize("what", ["drained", "full"])
def test_a_child_that_waits_ends_with_its_parent(empty_server: RunningServer, tmp_path: Path, what: str) -> None:
    """A parent waits for what its children do: one that nobody tells would wait for a lane, or for ever, and be killed at last."""

    async def act(fleet: Fleet, client: Client) -> None:
        parent = fleet.start("worker", pool="prefork", concurrency=1)
        await workers_alive(client, 1)
        await (drain_all(client) if what == "drained" else fill_lanes(fleet, client))
        [waiting] = await submit(client)
        await wake(fleet, waiting)

        code = await terminate(fleet, parent)

        assert code == 0
        assert await leases(client) == 0
        assert await client.workers() == []
        assert (await client.show(waiting)).attempts == 0

    play(
        empty_server, tmp_path, act, settings=quick_settings(worker=WORKER, lease=LONG_LEASES, lanes={"per_process": 1})
    )


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_that_is_to_outlive_its_terminal_does(empty_server: RunningServer, tmp_path: Path, pool: str) -> None:
    """`nohup` lets SIGHUP be ignored; Celery's own handler would start the worker anew, and a pool's children would die of it."""

    async def act(fleet: Fleet, client: Client) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            worker = fleet.start("worker", pool=pool, concurrency=1)
        finally:
            signal.signal(signal.SIGHUP, before)
        await workers_alive(client, 1)

        pids = worker.pids()

        assert len(pids) == (2 if pool == "prefork" else 1)
        async with asyncio.timeout(60):
            while not all(ignores(pid, signal.SIGHUP) for pid in pids):
                await pause(0.05)

    play(empty_server, tmp_path, act, settings=quick_settings(worker=WORKER))


def ignores(pid: int, number: signal.Signals) -> bool:
    """Say whether a process lets a signal come and go."""
    [mask] = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line]
    return bool(int(mask, 16) >> (number - 1) & 1)
