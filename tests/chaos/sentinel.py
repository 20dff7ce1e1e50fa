"""A primary and its replica watched by three Sentinels, and where wanted a proxy that follows whoever is the primary.

The store asks the Sentinels itself (`url`). It may also be given one address: a pair behind a failover is reached as many
sites do it, over something that knows who is primary just now, and ends the old connections when that changes. Here that is
our own proxy; what it does not know is Baton.
"""

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.embedded_binary import find_server
from tests.chaos.fleet import pause
from tests.chaos.proxy import Proxy
from tests.chaos.servers import Servers
from tests.ports import free_port

NAME = "baton"
SENTINELS = 3
#: How long a primary may be silent before the Sentinels look for another: longer than a busy machine holds up a process.
DOWN_AFTER_MS = 6_000
#: How long one of these things may take on a machine that is busy with something else: a Sentinel that was held up for two
#: seconds trusts its clock only after thirty more.
BEGIN_SECONDS, CHANGE_SECONDS = 120.0, 200.0
WORDS = ("--appendonly", "yes", "--save", "")


async def ask(port: int, *words: str) -> list[str]:
    """Send one command, and return the lines of its answer: enough for what a Sentinel says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write((" ".join(words) + "\r\n").encode())
        async with asyncio.timeout(10):
            first = (await reader.readline()).decode().strip()
            if not first.startswith("*") or first == "*-1":
                return [first]
            return [(await reader.readline()).decode().strip() for _ in range(2 * int(first[1:]))]
    finally:
        writer.transport.abort()


async def ask_info(port: int) -> str:
    """Return all that a server or a Sentinel says of itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"INFO\r\n")
        async with asyncio.timeout(10):
            length = int((await reader.readline())[1:])
            return (await reader.readexactly(length)).decode()
    finally:
        writer.transport.abort()


@dataclass
class Pair(Servers):
    """Two servers and their Sentinels; `proxy` leads to the primary, where there is one."""

    proxy: Proxy | None = None
    words: tuple[str, ...] = WORDS
    down_after_ms: int = DOWN_AFTER_MS
    ports: list[int] = field(default_factory=list)
    sentinels: list[int] = field(default_factory=list)
    primary: int = 0
    failovers: int = 0
    following: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        """Return the store's URL, which names the Sentinels."""
        return self.url_as("", self.sentinels)

    def url_as(self, user: str, sentinels: Sequence[int]) -> str:
        """Return the store's URL for a user that reaches the Sentinels by these ports; its password is any."""
        login = f"{user}:{user}@" if user else ""
        return f"sentinel://{login}{','.join(f'127.0.0.1:{port}' for port in sentinels)}/{NAME}?db=0"

    def start(self, port: int, *words: str, config: Path | None = None) -> None:
        """Start a server, or with `config` a Sentinel."""
        home = self.folder / str(port)
        home.mkdir(exist_ok=True)
        command = [str(find_server().path), *([str(config)] if config else []), "--port", str(port), "--dir", str(home)]
        with (home / "log").open("ab") as log:
            self.processes[port] = subprocess.Popen(
                [*command, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    async def begin(self) -> None:
        """Start everything, wait until the replica follows and every Sentinel knows the others, and follow the primary."""
        self.ports = [free_port(), free_port()]
        self.primary = self.ports[0]
        if self.doors is not None:
            for port in self.ports:
                await self.doors.add(port)
        self.start(self.ports[0], *self._own_words(self.ports[0]))
        self.start_again(self.ports[1])
        await self.until_follows(self.ports[1])
        for _ in range(SENTINELS):
            port = free_port()
            config = self.folder / f"{port}.conf"
            config.write_text(
                f"sentinel monitor {NAME} 127.0.0.1 {self.place_of(self.primary)} 2\n"
                f"sentinel down-after-milliseconds {NAME} {self.down_after_ms}\nsentinel failover-timeout {NAME} 5000\n"
            )
            self.start(port, "--sentinel", "--bind", "127.0.0.1", config=config)
            self.sentinels.append(port)
        for port in self.sentinels:
            await self._until(lambda port=port: self._says(port, f"slaves=1,sentinels={SENTINELS}"))
        if self.proxy is not None:
            self.proxy.target = ("127.0.0.1", self.primary)
        self.following = asyncio.create_task(self.follow_forever())

    def _own_words(self, port: int) -> tuple[str, ...]:
        words = (*self.words, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
        return words if self.doors is None else (*words, "--replica-announce-port", str(self.place_of(port)))

    def start_again(self, port: int) -> None:
        """Start a server as a replica of whoever is primary now."""
        self.start(port, *self._own_words(port), "--replicaof", "127.0.0.1", str(self.place_of(self.primary)))

    async def _says(self, port: int, words: str) -> bool:
        return words in await ask_info(port)

    async def until_follows(self, port: int) -> None:
        """Wait until a server is a replica that has its primary's data."""
        await self._until(lambda: self._says(port, "master_link_status:up"), CHANGE_SECONDS)

    async def until_replica(self, port: int) -> None:
        """Wait until a server that was the primary says that it is not any more."""
        await self._until(lambda: self._says(port, "role:slave"), CHANGE_SECONDS)

    async def until_well(self) -> None:
        """Wait until each server is the primary that most Sentinels name, or has that one's data and follows it."""

        async def is_well() -> bool:
            primary = self.primary
            said = {port: (await ask_info(port)).splitlines() for port in self.processes if port in self.ports}
            own = f"master_port:{self.place_of(primary)}"
            return "role:master" in said[primary] and all(
                port == primary or {own, "master_link_status:up"} <= set(lines) for port, lines in said.items()
            )

        await self._until(is_well, CHANGE_SECONDS)

    async def until_taken_over(self, port: int) -> None:
        """Wait until most Sentinels name another primary."""

        async def is_over() -> bool:
            return self.primary != port

        await self._until(is_over, CHANGE_SECONDS)

    async def _until(self, test: object, seconds: float = BEGIN_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while True:
                with suppress(OSError, ValueError, asyncio.IncompleteReadError):  # it is just starting
                    if await test():  # type: ignore[operator]
                        return
                await pause(0.05)

    async def follow_forever(self) -> None:
        """Lead to whoever most Sentinels say is primary, and end the connections to whoever was.

        For a moment they disagree: whoever believed any one of them would go back to the old one.
        """
        while True:
            said = Counter[int]()
            for port in self.sentinels:
                with suppress(OSError, TimeoutError):
                    lines = await ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
                    said.update([self.port_at(int(lines[3]))] if len(lines) == 4 else [])
            [(primary, voices)] = said.most_common(1) or [(0, 0)]
            if voices > SENTINELS // 2 and primary != self.primary:
                self.primary = primary
                self.failovers += 1
                if self.proxy is not None:
                    self.proxy.target = ("127.0.0.1", primary)
                    self.proxy.drop()
            await pause(0.05)

    async def kill_primary(self) -> int:
        """Kill the primary, and return its port once the other one is it."""
        gone = self.primary
        await self.kill(gone)
        await self.until_taken_over(gone)
        return gone

    def close(self) -> None:
        """End everything, by pid."""
        if self.following is not None:
            self.following.cancel()
        super().close()


@asynccontextmanager
async def sentinel_pair(folder: Path) -> AsyncIterator[Pair]:
    """Lend a pair that is ready to fail over."""
    proxy = Proxy(folder / "primary.sock", folder)
    pair = Pair(folder, proxy)
    try:
        await pair.begin()
        await proxy.start()
        yield pair
    finally:
        await proxy.aclose()
        pair.close()
