"""A server's port is its own from the moment when it is chosen: none that the kernel gives away, and none twice."""

import socket
from pathlib import Path

import pytest

from tests import ports
from tests.ports import free_port


def test_a_port_is_none_that_the_kernel_gives_to_whoever_connects() -> None:
    """Any of those may be a client's when the server comes to listen, or comes back."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if not set(range(10_000, 55_000)) - set(range(low, high + 1)):
        pytest.skip("this kernel gives all of them away")

    found = [free_port() for _ in range(200)]

    assert [port for port in found if low <= port <= high] == []
    assert len(set(found)) == 200


def test_a_port_where_somebody_listens_is_not_free() -> None:
    """Whatever the address is."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

        assert not ports._is_free(listener.getsockname()[1])


def test_where_the_kernel_gives_all_of_them_away_it_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before, and better than none."""
    monkeypatch.setattr(ports, "_given_by_the_kernel", lambda: (1_024, 65_535))

    assert 1_024 <= free_port() <= 65_535
