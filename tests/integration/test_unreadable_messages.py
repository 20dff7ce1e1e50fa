"""What lies in the broker's list and is no wake-up ends no worker."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.contracts.base import dump_json
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from orchestrator.store.readiness import store_url_of
from orchestrator.store.store import Store
from tests.chaos.fleet import Fleet, pause
from tests.integration.test_chaos_fleet import play, submit, wait_until, workers_alive

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]


def envelope(task: str, body: str) -> str:
    """Return a message in Celery's own wrapping; the body is base64."""
    properties = {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": {}}
    headers = {"task": task, "id": "1"}
    kinds = {"content-type": "application/json", "content-encoding": "utf-8"}
    return dump_json({"body": body, "headers": headers, "properties": properties, **kinds})


NO_WAKE_UPS = (
    *("garbage", b"\xff\xfe", "5", "null", "[]", "{}"),
    envelope("baton.step", "!!!"),
    envelope("baton.step", "eA=="),  # x
    envelope("baton.newer", "W1tdLCB7fSwge31d"),  # [[], {}, {}]
    envelope("baton.step", "W1tdLCB7ImEiOiAxfSwge31d"),  # [[], {"a": 1}, {}]
    envelope("baton.step", "W1tbNV1dLCB7fSwge31d"),  # [[[5]], {}, {}]
)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_message_that_cannot_be_read_ends_no_worker(empty_server: RunningServer, tmp_path: Path, pool: str) -> None:
    """Each would have ended a worker, and whoever supervises a fleet gives up where all of them end at once."""

    async def act(fleet: Fleet, client: Client) -> None:
        worker = fleet.start("worker", pool=pool, concurrency=1)
        fleet.start("scheduler")
        await workers_alive(client, 1)
        async with aclosing(Store(store_url_of(fleet.broker) or "")) as broker:
            await asyncio.gather(*(broker.command("LPUSH", fleet.settings.queues.steps, one) for one in NO_WAKE_UPS))
            while await broker.command("LLEN", fleet.settings.queues.steps):
                assert worker.process.poll() is None
                await pause(0.05)

        ended = await wait_until(client, await submit(client, 3), lambda record: record.phase == "ended")

        assert {record.status for record in ended} == {"done"}
        assert worker.process.poll() is None
        assert "a message cannot be read and was dropped" in worker.log.read_text()

    play(empty_server, tmp_path, act)
