"""A real store for the tests of the store: its scripts are what is tested, on one server and on a cluster of three.

A test that asks for the one server by itself is about that server, and is not tried on a cluster.
"""

import inspect
from collections.abc import Iterator

import pytest

from tests.property.store_lab import Lab

OF_ONE_SERVER = frozenset({"empty_server", "store_url"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try whatever works on a store on both kinds of it."""
    asked = inspect.signature(metafunc.function).parameters.keys()
    if "lab" in asked and not OF_ONE_SERVER & asked:
        metafunc.parametrize("lab", ["server", "cluster"], indirect=True)


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Lend an empty store; on a cluster, no command may be refused for where its keys are."""
    if getattr(request, "param", "server") == "server":
        made = Lab(request.getfixturevalue("store_url"))
        yield made
        made.close()
        return
    cluster = request.getfixturevalue("empty_cluster")
    made = Lab(cluster.url, partitions=7)  # three masters have some each
    yield made
    errors = made.run(cluster.errors())
    made.close()
    assert not {"CROSSSLOT", "MOVED", "CLUSTERDOWN"} & errors.keys()


@pytest.fixture
def one(store_url: str) -> Iterator[Lab]:
    """Lend an empty store of one partition, so that one look sees everything."""
    made = Lab(store_url, partitions=1)
    yield made
    made.close()
