"""Servers and Sentinels behind TLS: real ones, and in front of each a TLS end of its own.

The bundled server is built without TLS. So each process has a proxy that ends TLS, and what Sentinels say of ports is said in
the proxies' ports: whoever comes over TLS sees a group that speaks nothing else. Servers that speak TLS themselves are
test_tls_of_a_real_server.py's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.sentinel import NAME, Pair
from tests.ports import free_port

_CHUNK = 65_536


@dataclass
class TlsEnd:
    """Ends TLS on a port and leads to another one of this machine; `names` are ports that are told by another number."""

    target: int
    context: ssl.SSLContext
    names: dict[int, int] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    met: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["TlsEnd"]:
        """Serve until the end."""
        served: set[asyncio.Task[None]] = set()

        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            served.add(task)
            task.add_done_callback(served.discard)

        server = await asyncio.start_server(take, "127.0.0.1", self.port, ssl=self.context)
        try:
            yield self
        finally:
            server.close()
            for task in tuple(served):
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        ways = (self._carry(reader, upstream[1], {}), self._carry(upstream[0], writer, self.names))
        pipes = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.transport.abort()
            upstream[1].transport.abort()
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, names: dict[int, int]) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                for here, there in names.items():
                    data = data.replace(b"\r\n%d\r\n" % here, b"\r\n%d\r\n" % there)
                writer.write(data)
                await writer.drain()


@dataclass
class TlsPair(Pair):
    """A pair under Sentinels, and the TLS ends of all of them."""

    ends: dict[int, TlsEnd] = field(default_factory=dict)

    def url_with(self, options: str, *, scheme: str = "rediss+sentinel") -> str:
        """Return the store's URL over TLS, with these options of its query."""
        places = ",".join(f"127.0.0.1:{self.ends[port].port}" for port in self.sentinels)
        return f"{scheme}://{places}/{NAME}?{options}"

    def server_url(self, options: str = "", *, host: str = "127.0.0.1") -> str:
        """Return the URL of the primary alone."""
        return f"rediss://{host}:{self.ends[self.primary].port}/0?{options}"


@asynccontextmanager
async def tls_pair(folder: Path, context: ssl.SSLContext) -> AsyncIterator[TlsPair]:
    """Lend a pair behind TLS."""
    pair = TlsPair(folder)
    try:
        await pair.begin()
        ports = [*pair.ports, *pair.sentinels]
        pair.ends = {port: TlsEnd(port, context) for port in ports}
        for end in pair.ends.values():
            end.names.update({port: pair.ends[port].port for port in pair.ports})
        async with _all_open(list(pair.ends.values())):
            yield pair
    finally:
        pair.close()


@asynccontextmanager
async def _all_open(ends: list[TlsEnd]) -> AsyncIterator[None]:
    if not ends:
        yield
        return
    async with ends[0].open(), _all_open(ends[1:]):
        yield
