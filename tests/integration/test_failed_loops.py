"""A worker whose loop came to an end from within ends with a code that says so: whoever supervises it starts it again."""

import asyncio
import shutil
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from tests.chaos.fleet import APPS, Fleet, quick_settings
from tests.integration.test_chaos_fleet import play, submit, workers_alive

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

STOPS_THE_LOOP = """
import asyncio

async def work(state):
    asyncio.get_running_loop().stop()
    await asyncio.Event().wait()
"""


def test_a_worker_whose_loop_was_ended_does_not_look_drained(empty_server: RunningServer, tmp_path: Path) -> None:
    """With code 0 an operator has taken it out, and `baton up` starts nobody in its place: its fleet would shrink to nothing."""
    apps = tmp_path / "apps"
    shutil.copytree(APPS / "plain", apps / "plain", ignore=shutil.ignore_patterns("__pycache__"))
    (apps / "plain" / "steps.py").write_text(STOPS_THE_LOOP)

    async def act(fleet: Fleet, client: Client) -> None:
        worker = fleet.start("worker")
        fleet.start("scheduler")
        await workers_alive(client, 1)
        await submit(client)

        code = await asyncio.to_thread(worker.process.wait, 120)

        assert code == 1

    play(empty_server, tmp_path, act, settings=quick_settings(apps))
