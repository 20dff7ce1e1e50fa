"""How far servers had come, and when: what bounds the loss of a failover whose replication is asynchronous.

A master counts the bytes of all that it has done (`master_repl_offset`), before it answers; the history that it writes
has a name (`master_replid`). A replica that takes over says up to which byte of which history it had come
(`second_repl_offset`, `master_replid2`), and everything behind that byte is gone. So every master is asked all the while how
far it is: what had been answered before such a look whose count the replica has reached is kept. The last of these
looks is the bound; it needs no guess at how fast a replica follows.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.store.fitness import parse_info
from orchestrator.store.wire import ServerRefused, Wire
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms

#: How often each server is asked, and how many answers of each are kept: a minute and more.
LOOK_SECONDS = 0.05
KEPT = 2_000


class Look(NamedTuple):
    """Before when (monotonic ms) it was asked, which history it writes, and how many bytes of it are done."""

    at: float
    history: str
    offset: int


class Takeover(NamedTuple):
    """The history that a replica went on from, and how many bytes of it there are for good."""

    history: str
    offset: int


class Bound(NamedTuple):
    """From when on (monotonic ms) something may be gone, and how many bytes are at least."""

    since: float
    bytes: int


def find_bound(looks: Iterable[Look], taken: Takeover) -> Bound:
    """Return what a takeover may have taken; where no look bounds it, from the beginning of everything.

    >>> looks = [Look(100.0, "a", 10), Look(150.0, "a", 20), Look(200.0, "a", 30), Look(250.0, "b", 5)]
    >>> find_bound(looks, Takeover("a", 25))
    Bound(since=150.0, bytes=5)
    """
    of_it = [look for look in looks if look.history == taken.history]
    since = max((look.at for look in of_it if look.offset <= taken.offset), default=0.0)
    return Bound(since, max(0, *(look.offset - taken.offset for look in of_it), 0))


class Offsets:
    """Looks at servers by their ports."""

    def __init__(self) -> None:
        self._looks: dict[int, deque[Look]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, ports: Iterable[int]) -> None:
        """Begin to look at them."""
        for port in ports:
            self._looks[port] = deque(maxlen=KEPT)
            self._tasks.append(asyncio.create_task(self._watch_forever(port)))

    async def _watch_forever(self, port: int) -> None:
        wire = Wire(f"redis://127.0.0.1:{port}/0")
        try:
            while True:
                at = now_ms()
                with suppress(StoreUnreachable, ServerRefused):  # it is dead, stands still, or loads its file
                    told = parse_info(str(await wire.command("INFO", "replication")))
                    if told.get("role") == "master":
                        self._looks[port].append(Look(at, told["master_replid"], int(told["master_repl_offset"])))
                await pause(LOOK_SECONDS)
        finally:
            await wire.aclose()

    def bound(self, port: int, taken: Takeover) -> Bound:
        """Return what a replica's takeover has taken of what this server had done."""
        return find_bound(self._looks[port], taken)

    async def aclose(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def read_replication(port: int) -> dict[str, str]:
    """Return what a server says of its replication; raise StoreUnreachable."""
    wire = Wire(f"redis://127.0.0.1:{port}/0")
    try:
        return parse_info(str(await wire.command("INFO", "replication")))
    finally:
        await wire.aclose()


def read_takeover(told: dict[str, str]) -> Takeover:
    """Return what a new master says that it went on from."""
    return Takeover(told["master_replid2"], int(told["second_repl_offset"]) - 1)
