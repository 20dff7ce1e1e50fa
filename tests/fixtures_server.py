"""A real server for tests: started once a test process, emptied before each test that asks for it.

Under xdist every worker process has a server of its own. Named so that they do not meet the fixtures which the
bundled server's own package brings.
"""

from collections.abc import Iterator

import pytest

from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask


@pytest.fixture(scope="session")
def temporary_server() -> Iterator[RunningServer]:
    """Lend a server to the whole run; what is in it may be another test's."""
    with temporary() as server:
        yield server


@pytest.fixture
def empty_server(temporary_server: RunningServer) -> RunningServer:
    """Lend the server with nothing in it."""
    assert ask(temporary_server.socket, "FLUSHALL", seconds=10) == b"+OK"
    return temporary_server


@pytest.fixture
def store_url(empty_server: RunningServer) -> str:
    """Return the URL of an empty store."""
    return empty_server.url


@pytest.fixture
def broker_url(empty_server: RunningServer) -> str:
    """Return Celery's URL of an empty broker: another database of the same server."""
    return empty_server.broker_url
