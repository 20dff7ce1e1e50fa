"""The network of one process: a line that can be cut, frozen, slowed, or deafened, and a Unix socket of our own that leads over it.

A process connects to the proxy's socket and knows nothing of it. Nothing is looked into and nothing is changed:
bytes arrive late, or not at all and with them the connection - as in a network.

    cut      connections end, new ones are refused       freeze   nothing passes, and nothing ends
    deafen   what is asked arrives, no answer comes back, and then the connection ends: the act has happened
    slow     every piece waits for a while

A line carries any number of connections, to whatever is at their other ends: to the proxy's one target, and to
the places that servers announce (doors.py).
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

#: A Unix socket, or a host and a port.
Target: TypeAlias = Path | tuple[str, int]

PIECE = 65_536


class Line:
    """All that one caller sends and gets, over as many connections as it has."""

    def __init__(self) -> None:
        self._refuses = False
        self._delay = 0.0
        self._asks, self._answers = asyncio.Event(), asyncio.Event()
        self._asks.set()
        self._answers.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._refuses = True
        self.drop()

    def drop(self) -> None:
        """End every connection; new ones are welcome."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Let nothing pass, in either direction."""
        self._asks.clear()
        self._answers.clear()

    def deafen(self) -> None:
        """Let what is asked pass, and hold back the answers."""
        self._answers.clear()

    def slow(self, seconds: float) -> None:
        """Let every piece wait this long."""
        self._delay = seconds

    def heal(self) -> None:
        """Let everything pass again; whoever was deafened hears that the connection is lost, and no late answer."""
        if not self._answers.is_set() and self._asks.is_set():
            self.drop()
        self._refuses, self._delay = False, 0.0
        self._asks.set()
        self._answers.set()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, said: bytes = b""
    ) -> None:
        """Lead a connection to a target until one of its ends is closed; `said` are its first words, read already."""
        if self._refuses:
            writer.transport.abort()
            return
        try:
            if isinstance(target, Path):
                to_reader, to_writer = await asyncio.open_unix_connection(target)
            else:
                to_reader, to_writer = await asyncio.open_connection(*target)
        except (OSError, asyncio.CancelledError):  # only `aclose` cancels, and nobody waits for what is returned
            writer.transport.abort()
            return
        both = {writer, to_writer}
        if self._refuses:  # cut off while it was being made
            for one in both:
                one.transport.abort()
            return
        self._writers |= both
        pumps = [
            asyncio.ensure_future(self._pump(reader, to_writer, self._asks, said)),
            asyncio.ensure_future(self._pump(to_reader, writer, self._answers, b"")),
        ]
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*pumps, return_exceptions=True)
        self._writers -= both
        for one in both:
            one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened: asyncio.Event, said: bytes
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := said or await reader.read(PIECE):
                said = b""
                await opened.wait()
                if self._delay:
                    late = asyncio.Event()
                    loop.call_later(self._delay, late.set)
                    await late.wait()
                    await opened.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return


class Listener(ABC):
    """A socket of ours, and the connections that came in by it."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """End everything."""
        if self._server is not None:
            loop = asyncio.get_running_loop()
            for door in self._server.sockets:
                loop.remove_reader(door.fileno())
            # Whoever was let in already needs some turns of the loop to be somebody: a server that is closed before leaves them open.
            for _ in range(4):
                turn = loop.create_future()
                loop.call_soon(turn.set_result, None)
                await turn
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*tuple(self._tasks), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(reader, writer)
        finally:
            writer.transport.abort()

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""


class Proxy(Line, Listener):
    """One socket before the server's; `target` may change, as an address does at a failover."""

    def __init__(self, path: Path, target: Target) -> None:
        Line.__init__(self)
        Listener.__init__(self)
        self.path = path
        self.target = target

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def aclose(self) -> None:
        """End everything."""
        self.cut()
        await super().aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.carry(reader, writer, self.target)
