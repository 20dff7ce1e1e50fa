"""A primary and its replica watched by three Sentinels, and a proxy that follows whoever is the primary.

Baton's store takes one address. A pair behind a failover is reached as many sites do it: over something that knows who is
primary just now, and ends the old connections when that changes. Here that is our own proxy; what it does not know is
Baton.
"""

import asyncio
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.embedded_binary import find_server
from tests.chaos.fleet import pause
from tests.chaos.proxy import Proxy

NAME = "baton"
SENTINELS = 3
#: How long a primary may be silent before the Sentinels look for another.
DOWN_AFTER_MS = 1_000


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def ask(port: int, *words: str) -> list[str]:
    """Send one command, and return the lines of its answer: enough for what a Sentinel says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write((" ".join(words) + "\r\n").encode())
        async with asyncio.timeout(2):
            first = (await reader.readline()).decode().strip()
            if not first.startswith("*") or first == "*-1":
                return [first]
            return [(await reader.readline()).decode().strip() for _ in range(2 * int(first[1:]))]
    finally:
        writer.transport.abort()


@dataclass
class Pair:
    """Two servers and their Sentinels; `proxy` leads to the primary."""

    folder: Path
    proxy: Proxy
    ports: list[int] = field(default_factory=list)
    sentinels: list[int] = field(default_factory=list)
    processes: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict)
    primary: int = 0
    failovers: int = 0

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
        """Start everything, and wait until the replica follows and every Sentinel knows the others."""
        self.ports = [free_port(), free_port()]
        self.primary = self.ports[0]
        kept = ("--appendonly", "yes", "--save", "", "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
        self.start(self.ports[0], *kept)
        self.start(self.ports[1], *kept, "--replicaof", "127.0.0.1", str(self.ports[0]))
        await self._until(lambda: self._says(self.ports[1], "master_link_status:up"))
        for _ in range(SENTINELS):
            port = free_port()
            config = self.folder / f"{port}.conf"
            config.write_text(
                f"sentinel monitor {NAME} 127.0.0.1 {self.primary} 2\n"
                f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 5000\n"
            )
            self.start(port, "--sentinel", "--bind", "127.0.0.1", config=config)
            self.sentinels.append(port)
        for port in self.sentinels:
            await self._until(lambda port=port: self._says(port, f"slaves=1,sentinels={SENTINELS}"))
        self.proxy.target = ("127.0.0.1", self.primary)

    async def _says(self, port: int, words: str) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"INFO\r\n")
            length = int((await reader.readline())[1:])
            return words in (await reader.readexactly(length)).decode()
        finally:
            writer.transport.abort()

    async def _until(self, test: object, seconds: float = 20) -> None:
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
                    said.update([int(lines[3])] if len(lines) == 4 else [])
            [(primary, voices)] = said.most_common(1) or [(0, 0)]
            if voices > SENTINELS // 2 and primary != self.primary:
                self.primary = primary
                self.failovers += 1
                self.proxy.target = ("127.0.0.1", primary)
                self.proxy.drop()
            await pause(0.05)

    async def kill_primary(self) -> int:
        """Kill the primary, and return its port once the other one is it."""
        gone, before = self.primary, self.failovers
        self.processes[gone].send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.processes.pop(gone).wait, 10)
        async with asyncio.timeout(30):
            while self.failovers == before:
                await pause(0.05)
        return gone

    def close(self) -> None:
        """End everything, by pid."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(timeout=10)


@asynccontextmanager
async def sentinel_pair(folder: Path) -> AsyncIterator[Pair]:
    """Lend a pair that is ready to fail over."""
    proxy = Proxy(folder / "primary.sock", folder)
    pair = Pair(folder, proxy)
    following: asyncio.Task[None] | None = None
    try:
        await pair.begin()
        await proxy.start()
        following = asyncio.create_task(pair.follow_forever())
        yield pair
    finally:
        if following is not None:
            following.cancel()
        await proxy.aclose()
        pair.close()
