"""A worker that an operator has drained leaves the wake-ups to those who can use them."""

import asyncio
import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing

import pytest

from orchestrator.settings import Settings
from orchestrator.wiring import build_client
from workers.composition import Urls
from workers.process import WorkerProcess
from workers.wakeups import Sender


class NoWakeups:
    """A broker that takes everything and keeps nothing."""

    def send(self, queue: str, session_ids: Sequence[str]) -> None:
        """Take it."""

    def backlog(self, queue: str) -> int:
        """Say that nothing lies there."""
        return 0


@pytest.fixture
def process(store_url: str, broker_url: str) -> Iterator[WorkerProcess]:
    """A worker process that lives in this one; it gives back the cycle collector's settings, too."""
    settings = Settings.model_validate({"worker": {"heartbeat_seconds": 0.5}, "apps": {"bundled": False}})
    thresholds = gc.get_threshold()
    process = WorkerProcess(settings, Urls(store_url, broker_url), Sender(NoWakeups(), settings), ("steps",))
    yield process
    process.drain()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_a_drained_worker_takes_no_more_wake_ups_than_it_has_threads(process: WorkerProcess, store_url: str) -> None:
    """A drained pool that returns at once would swallow every second wake-up of a fleet of two, five seconds each."""
    returned = threading.Event()

    async def order_drain() -> None:
        async with aclosing(build_client(Settings(), store_url, {})) as client:
            await client.drain_worker(process.name)

    def take() -> None:
        process.hand_over(["SES-20261120-001"])
        returned.set()

    asyncio.run(order_drain())
    assert process.ordered_out.wait(60)
    pool_thread = threading.Thread(target=take, daemon=True)
    pool_thread.start()

    assert not returned.wait(1)
    process.drain()
    assert returned.wait(60)
