"""Ports for servers that are told where to listen, and that may be started again there."""

import random
import socket
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Below the last ten thousand: the bus of a cluster's server may be as many above its port.
_FIRST, _LAST = 10_000, 55_000
_MOST_TRIES: Final = 1_000
_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody has, and that was not returned before.

    It is not one of those that the kernel gives to whoever connects somewhere: of these, any could be taken until the server
    listens, or between its end and its next start. Where the kernel gives all of them, it is any that is free now.
    """
    low, high = _given_by_the_kernel()
    others = [*range(_FIRST, low), *range(max(high + 1, _FIRST), _LAST + 1)]
    for port in random.SystemRandom().sample(others, min(_MOST_TRIES, len(others))):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _given_by_the_kernel() -> tuple[int, int]:
    try:
        low, high = map(int, _RANGE.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # another kernel
        return _FIRST, _LAST
    return low, high


def _is_free(port: int) -> bool:
    """Say whether nobody listens there, at any address of this machine."""
    with socket.socket() as one:
        try:
            one.bind(("", port))
        except OSError:
            return False
    return True
