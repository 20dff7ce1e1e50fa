"""A real server for tests: started once a test process, emptied before each test that asks for it.

Under xdist every worker process has a server of its own. Named so that they do not meet the fixtures which the
bundled server's own package brings.
"""

import asyncio
from collections.abc import Iterator

import pytest

from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_binary import bundled_path
from orchestrator.embedded_wire import ask
from tests.chaos.cluster import ClusterOfServers
from tests.chaos.run import make_folder


@pytest.fixture(scope="session")
def temporary_server() -> Iterator[RunningServer]:
    """Lend a server to the whole run; what is in it may be another test's."""
    with temporary() as server:
        yield server


@pytest.fixture
def empty_server(temporary_server: RunningServer) -> RunningServer:
    """Lend the server with nothing in it."""
    assert ask(temporary_server.socket, "FLUSHALL", seconds=60) == b"+OK"
    return temporary_server


@pytest.fixture
def store_url(request: pytest.FixtureRequest, empty_server: RunningServer) -> str:
    """Return the URL of an empty store: one server, or by the parameter `cluster` a Redis Cluster."""
    if getattr(request, "param", "server") == "cluster":
        return str(request.getfixturevalue("empty_cluster").url)
    return empty_server.url


@pytest.fixture
def broker_url(empty_server: RunningServer) -> str:
    """Return Celery's URL of an empty broker: another database of the same server."""
    return empty_server.broker_url


@pytest.fixture(scope="session")
def temporary_cluster() -> Iterator[ClusterOfServers]:
    """Lend a Redis Cluster of three masters to the whole run."""
    if bundled_path() is None:
        pytest.skip("no server is bundled for this platform")
    with make_folder() as folder:
        cluster = ClusterOfServers(folder)
        try:
            asyncio.run(cluster.begin())
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def empty_cluster(temporary_cluster: ClusterOfServers) -> ClusterOfServers:
    """Lend the cluster with nothing in it, and no error counted."""

    async def empty() -> None:
        for port in temporary_cluster.ports:
            await temporary_cluster.ask(port, "FLUSHALL")
            await temporary_cluster.ask(port, "CONFIG", "RESETSTAT")

    asyncio.run(empty())
    return temporary_cluster
