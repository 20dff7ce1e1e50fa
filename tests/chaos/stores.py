"""What a run's stack stands on, and what can go wrong with it: the bundled server here, several servers in replicated.py.

    start    everything answers            url, url_over   where the store is, for the run and for a process with a network
    strike   one fault, until it is over   cuts            when it went back in time, how far at most
    settle   what nobody planned
    refused  what servers refused          aclose          nothing is left

The broker is a bundled server in any case: Celery speaks neither to a cluster nor, here, to Sentinels. Store and broker are both
reached by each process over its own network. Faults of processes and networks are havoc's.
"""

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Protocol

from orchestrator.client import Client
from orchestrator.embedded import Fsync
from tests.chaos.cuts import Cut
from tests.chaos.driver import Driver
from tests.chaos.fleet import pause
from tests.chaos.history import count_confirmed
from tests.chaos.plan import Fault, StoreKind
from tests.chaos.power import Power
from tests.chaos.proxy import Proxy

#: For how long the server refuses to write because its memory or its disk is full.
FULL_SECONDS = 1.5


class Hands(Protocol):
    """What a fault of the store needs of the run."""

    control: Client
    driver: Driver
    history: Path

    def cut_everybody_off(self) -> None:
        """Let nobody be answered any more."""

    def heal_everybody(self) -> None:
        """Let everybody go on who is not offline for a reason of its own."""


class StoreUnderChaos(ABC):
    """A store that can be struck; `bundled` is the server that the broker is on."""

    kind: ClassVar[StoreKind]
    #: Whether processes can be struck while the store is: part of it goes on, or another takes over soon.
    is_replicated: ClassVar[bool]
    #: How long the store may be away for those who ask it, and how long sessions may take to their ends after the last fault.
    patience_seconds: ClassVar[float]
    end_seconds: ClassVar[float]

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        self.fsync: Fsync = fsync
        self.bundled = Power(folder / "server", fsync=fsync)
        self.cuts: list[Cut] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """Return where the store is."""

    @abstractmethod
    async def url_over(self, slot: str, proxy: Proxy) -> str:
        """Return where it is for the process in this place, which this network belongs to."""

    @abstractmethod
    async def start(self) -> None:
        """Return once everything answers."""

    @abstractmethod
    async def strike(self, fault: Fault, hands: Hands) -> bool:
        """Let it happen, and return True once it is over; False for one that cannot happen."""

    @abstractmethod
    async def settle(self, hands: Hands) -> None:
        """Find out what happened to it that nobody planned, once everything has struck."""

    def logs(self) -> str:
        """Return what the store's servers said that is worth reading after a failure."""
        return ""

    async def refused(self) -> dict[str, int]:
        """Return how often the store's servers refused a command, by the error's first word."""
        return {}

    async def aclose(self) -> None:
        """End everything."""
        await asyncio.to_thread(self.bundled.close)


class BundledStore(StoreUnderChaos):
    """One server for store and broker, which can be killed, full, and without power."""

    kind = "server"
    is_replicated = False
    patience_seconds = 30.0
    end_seconds = 90.0
    _watching: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        """Return the server's own address."""
        return self.bundled.server.url

    async def url_over(self, slot: str, proxy: Proxy) -> str:
        """Return the network's address."""
        del slot
        return f"unix://{proxy.path}?db=0"

    async def start(self) -> None:
        """Measure its file from now on."""
        self._watching = asyncio.create_task(self.bundled.watch_forever())

    async def strike(self, fault: Fault, hands: Hands) -> bool:
        """Let it happen."""
        match fault.what:
            case "memory":
                await hands.control.store.command("CONFIG", "SET", "maxmemory", 1)
                await pause(FULL_SECONDS)
                await hands.control.store.command("CONFIG", "SET", "maxmemory", 0)
            case "disk" if self.fsync == "always":
                return False  # a server that promised the disk ends itself then, and its supervisor waits
            case "disk":
                self.bundled.limit_files(full=True)
                await pause(FULL_SECONDS)
                self.bundled.limit_files(full=False)
            case "power":
                await self._cut_power(fault, hands)
            case _:
                await (self.bundled.kill() if fault.what == "restart" else self.bundled.stop())
                await pause(fault.lasts)
                await self.bundled.start()
        return True

    async def settle(self, hands: Hands) -> None:
        """Do nothing: nobody takes over from it."""

    async def _cut_power(self, fault: Fault, hands: Hands) -> None:
        """Cut everybody off first: an answer that nobody has got was never given. Then those outside find their losses."""

        def cut_off() -> None:
            hands.driver.cuts += 1
            hands.driver.gate.clear()
            hands.cut_everybody_off()

        cut = await self.bundled.cut(cut_off, lambda: count_confirmed(hands.history))
        self.cuts.append(cut)
        await pause(fault.lasts)
        await self.bundled.start()
        hands.heal_everybody()
        await hands.driver.find_losses(cut.since)
        hands.driver.gate.set()

    async def aclose(self) -> None:
        """End it for good."""
        if self._watching is not None:
            self._watching.cancel()
        await super().aclose()
