"""Worker and scheduler as processes whose store is a Redis Cluster: from a submission to its end."""

import asyncio
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from orchestrator.embedded import temporary
from orchestrator.installed import load_installed_apps
from orchestrator.settings import load_settings
from orchestrator.wiring import build_client
from tests.chaos.cluster import ClusterOfServers
from tests.integration.test_servers_in_trouble import running, variables

pytestmark = pytest.mark.integration


def test_sessions_come_to_their_end_on_a_cluster(empty_cluster: ClusterOfServers, tmp_path: Path) -> None:
    """Whatever a process does at its start, in its rounds and at its end, it does it on every master, and across none."""

    async def play(env: dict[str, str]) -> list[str | None]:
        settings = load_settings(env=env)
        async with aclosing(build_client(settings, empty_cluster.url, load_installed_apps(settings))) as client:
            ids = [(await client.submit("bench_loop", overrides={"of": 3}, actor="ada")).session_id for _ in range(12)]
            return [record.status for record in (await client.wait_for(ids, seconds=60)).values()]

    with temporary() as broker, ExitStack() as processes:
        env = variables(broker, BATON_REDIS_URL=empty_cluster.url)
        for kind in ("worker", "scheduler"):
            processes.enter_context(running(kind, tmp_path / kind, env))

        assert asyncio.run(play(env)) == ["done"] * 12, (tmp_path / "worker").read_text()
        assert asyncio.run(empty_cluster.errors()) == {}
