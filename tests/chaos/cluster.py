"""A Redis Cluster on this machine: masters, a replica for each where wanted, and hands to kill, move and look.

Made by the cluster's own commands, as its tool would: each master gets its share of the slots, they are made to meet, replicas
are told whom to follow. Everything is over when all of them agree.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.embedded_binary import find_server
from orchestrator.store.cluster_map import SLOTS
from orchestrator.store.wire import ServerRefused, Wire
from tests.chaos.fleet import pause
from tests.chaos.servers import Servers
from tests.ports import free_port

#: How long a master may be silent before its replica takes over; without replicas nobody should ever be found silent.
DOWN_AFTER_MS, PATIENT_MS = 3_000, 60_000
BEGIN_SECONDS = 120.0


@dataclass
class ClusterOfServers(Servers):
    """Servers by their ports; the first `masters` of them began as masters."""

    masters: int = 3
    replicas: int = 0
    words: tuple[str, ...] = ("--appendonly", "yes", "--save", "")
    ports: list[int] = field(default_factory=list)
    buses: dict[int, int] = field(default_factory=dict)
    bus_places: dict[int, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return the store's URL: two of the servers are enough to find the others."""
        return self.url_as("")

    def url_as(self, user: str) -> str:
        """Return the store's URL for a user; its password is any, and its way is by the doors, where there are any."""
        login = f"{user}:{user}@" if user else ""
        return f"redis+cluster://{login}" + ",".join(f"127.0.0.1:{self.place_of(port)}" for port in self.ports[:2])

    def start(self, port: int) -> None:
        """Start a server, or start it again: what it knows of the cluster is in its folder."""
        home = self.folder / str(port)
        home.mkdir(exist_ok=True)
        timeout = DOWN_AFTER_MS if self.replicas else PATIENT_MS
        command = [str(find_server().path), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)]
        command += ["--cluster-enabled", "yes", "--cluster-port", str(self.buses[port])]
        command += ["--cluster-node-timeout", str(timeout), "--repl-diskless-sync-delay", "0", *self.words]
        if self.doors is not None:
            command += ["--cluster-announce-port", str(self.place_of(port))]
            command += ["--cluster-announce-bus-port", str(self.bus_places[port])]
        with (home / "log").open("ab") as log:
            self.processes[port] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    async def begin(self) -> None:
        """Start everything, and wait until every server sees all slots served and every replica is up."""
        for _ in range(self.masters * (1 + self.replicas)):
            port = free_port()
            self.ports.append(port)
            self.buses[port] = self.bus_places[port] = free_port()
            if self.doors is not None:
                await self.doors.add(port)
                self.bus_places[port] = await self.doors.add_bus(port, self.buses[port])
            self.start(port)
        await asyncio.gather(*(self.until(lambda port=port: self._answers(port)) for port in self.ports))
        for place, port in enumerate(self.ports[: self.masters]):
            await self.ask(port, "CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            await self.ask(port, "CLUSTER", "ADDSLOTSRANGE", *self.share(place))
        await self.until_met()
        for place, port in enumerate(self.ports[self.masters :]):
            master = str(await self.ask(self.ports[place % self.masters], "CLUSTER", "MYID"))
            await self.until(lambda port=port, master=master: self._does(port, "CLUSTER", "REPLICATE", master))
        await self.until_well()

    async def until_met(self) -> None:
        """Let all servers meet. A server gives a meeting up after DOWN_AFTER_MS and forgets it, as where a disk holds it up for so long,
        and nobody else repeats it: so whoever still misses one is told again, once nothing can be under way any more.
        """  # noqa: D205 - one sentence
        first, everybody = self.ports[0], f"cluster_known_nodes:{len(self.ports)}"

        async def missing() -> list[int]:
            return [port for port in self.ports if not await self._sees(port, everybody)]

        async def are_met() -> bool:
            return not await missing()

        async with asyncio.timeout(BEGIN_SECONDS):
            while await missing():
                for port in self.ports[1:]:
                    await self.ask(port, "CLUSTER", "MEET", "127.0.0.1", self.place_of(first), self.bus_places[first])
                with suppress(TimeoutError):
                    await self.until(are_met, 2 * DOWN_AFTER_MS / 1000)

    def share(self, place: int) -> tuple[int, int]:
        """Return the slots, from first to last, of the so-manieth master."""
        share = -(-SLOTS // self.masters)
        return place * share, min((place + 1) * share, SLOTS) - 1

    def start_again(self, port: int) -> None:
        """Start a dead server: it finds out by itself whose replica it is now."""
        self.start(port)

    async def until_well(self) -> None:
        """Wait until every running server sees all slots served, and every replica has its master's data."""
        for port in self.processes:
            await self.until(lambda port=port: self._sees(port, "cluster_state:ok"))
            await self.until(lambda port=port: self._is_whole(port))

    async def until(self, test: Callable[[], Awaitable[bool]], seconds: float = BEGIN_SECONDS) -> None:
        """Wait until a test holds; a server that does not answer yet does not."""
        async with asyncio.timeout(seconds):
            while True:
                with suppress(StoreUnreachable):
                    if await test():
                        return
                await pause(0.05)

    async def ask(self, port: int, *words: str | int) -> Any:
        """Send one command to one server."""
        wire = Wire(f"redis://127.0.0.1:{port}/0")
        try:
            return await wire.command(*words)
        finally:
            await wire.aclose()

    async def _answers(self, port: int) -> bool:
        return str(await self.ask(port, "PING")) == "PONG"

    async def _sees(self, port: int, words: str) -> bool:
        return words in str(await self.ask(port, "CLUSTER", "INFO")).splitlines()

    async def _is_whole(self, port: int) -> bool:
        said = str(await self.ask(port, "INFO", "replication")).splitlines()
        return "role:master" in said or "master_link_status:up" in said

    async def until_copied(self, port: int) -> None:
        """Wait until all replicas of a master have what it has; of a replica, nothing is waited for."""

        async def is_copied() -> bool:
            said = str(await self.ask(port, "INFO", "replication")).splitlines()
            told = dict(line.split(":", 1) for line in said if ":" in line)
            lines = [line for name, line in told.items() if name.startswith("slave") and name[5:].isdigit()]
            wanted = f"offset={told.get('master_repl_offset')}"
            return told.get("role") != "master" or all(wanted in line.split(",") for line in lines)

        await self.until(is_copied)

    async def until_follows(self, port: int) -> None:
        """Wait until a server that is started again is a replica that has its master's data."""

        async def follows() -> bool:
            return "master_link_status:up" in str(await self.ask(port, "INFO", "replication")).splitlines()

        await self.until(follows)

    async def until_replica(self, port: int) -> None:
        """Wait until a server that was a master says that it is none any more."""

        async def is_replica() -> bool:
            return "role:slave" in str(await self.ask(port, "INFO", "replication")).splitlines()

        await self.until(is_replica)

    async def _does(self, port: int, *words: str | int) -> bool:
        try:
            await self.ask(port, *words)
        except ServerRefused:  # it does not know that one yet
            return False
        return True

    async def owners(self) -> list[tuple[int, int, int]]:
        """Return slots, from first to last, and the port of their master, as a running server sees them."""
        port = next(one for one in self.processes if one not in self.isolated)
        slots = await self.ask(port, "CLUSTER", "SLOTS")
        return [(int(first), int(last), self.port_at(int(master[1]))) for first, last, master, *_ in slots]

    async def _name(self, port: int) -> str:
        return str(await self.ask(port, "CLUSTER", "MYID"))

    async def owner(self, slot: int) -> int:
        """Return the port of a slot's master."""
        return next(port for first, last, port in await self.owners() if first <= slot <= last)

    async def until_taken_over(self, port: int) -> None:
        """Wait until all slots of a dead master have another one, as the others see it."""

        async def is_over() -> bool:
            owners = await self.owners()
            return port not in {found for _, _, found in owners}

        await self.until(is_over)

    async def errors(self, *ports: int) -> dict[str, int]:
        """Return how often these servers, or all that run, refused a command, by the error's first word."""
        total: dict[str, int] = {}
        for port in ports or self.processes:
            for line in str(await self.ask(port, "INFO", "errorstats")).splitlines():
                if line.startswith("errorstat_"):
                    name, _, count = line.removeprefix("errorstat_").partition(":count=")
                    total[name] = total.get(name, 0) + int(count)
        return total


@asynccontextmanager
async def cluster_of_servers(folder: Path, *, masters: int = 3, replicas: int = 0) -> AsyncIterator[ClusterOfServers]:
    """Lend a cluster that is ready."""
    made = ClusterOfServers(folder, masters, replicas)
    try:
        await made.begin()
        yield made
    finally:
        made.close()
