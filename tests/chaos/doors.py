"""The network between processes and servers that tell where they are: a place of our own in front of each, which they announce.

Servers of a cluster and Sentinels tell whoever asks where the others are, so that a proxy at the address in a URL would be left at once.
Here it is the announced place that is ours (`cluster-announce-port`, `replica-announce-port`, the port that Sentinels monitor):
everybody comes in by a door, and there is no other way that anybody could know. Each connection then goes over its
caller's own line (proxy.py), and the caller says itself who it is, with its first words:

    a process          the user under which it logs in: `AUTH USER ...`, the first command of every connection of the store
    a server's bus     its id in the cluster, at its place in the head of every message
    all else           servers that follow this one, and Sentinels that watch it

Between servers nothing is cut unless one of them is isolated: then nothing of theirs passes from or to it, while the processes still
reach it. Whoever makes a run uses servers' own ports and is not in any network.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tests.chaos.proxy import PIECE, Line, Listener

HOST: Final = "127.0.0.1"
_LOGIN: Final = re.compile(rb"\*3\r\n\$4\r\nAUTH\r\n\$\d+\r\n([^\r]+)\r\n")
#: A message of a cluster's bus begins with these words, and its sender's id of forty characters stands there.
_BUS: Final = b"RCmb"
_SENDER: Final = slice(40, 80)


def read_user(said: bytes) -> str:
    """Return the user that a connection's first words log in as, nothing for one that does not.

    >>> read_user(b"*3\\r\\n$4\\r\\nAUTH\\r\\n$2\\r\\nw1\\r\\n$2\\r\\nw1\\r\\n"), read_user(b"*1\\r\\n$4\\r\\nPING\\r\\n")
    ('w1', '')
    """
    found = _LOGIN.match(said)
    return found[1].decode() if found is not None else ""


def read_sender(said: bytes) -> str:
    """Return which server of a cluster speaks on its bus, nothing for words of another kind."""
    return said[_SENDER].decode(errors="replace") if said.startswith(_BUS) else ""


class Door(Listener):
    """One place in front of a server's port; `line_of` says over which line a connection goes that begins with some words."""

    def __init__(self, port: int, line_of: Callable[[bytes], Line]) -> None:
        super().__init__()
        self._port, self._line_of = port, line_of

    async def open(self) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = b""
        with suppress(OSError, asyncio.CancelledError):  # only `aclose` cancels
            said = await reader.read(PIECE)
        if said:
            await self._line_of(said).carry(reader, writer, (HOST, self._port), said)


class Doors:
    """All of them. `lines` are those of processes, by the names under which they log in."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self._doors: list[Door] = []
        self._places: dict[int, int] = {}
        self._ports: dict[int, int] = {}
        #: Between servers: who is called, by its port, and who calls, by its id, where it says it.
        self._between: dict[tuple[int, str], Line] = {}
        self._isolated: dict[int, str] = {}

    async def add(self, port: int) -> int:
        """Return the place in front of a server, which it has to announce."""
        place = await self._open(port, lambda said: self._line(port, said))
        self._places[port], self._ports[place] = place, port
        return place

    async def add_bus(self, port: int, bus: int) -> int:
        """Return the place in front of a server's port for other servers of its cluster."""
        return await self._open(bus, lambda said: self._line_between(port, read_sender(said)))

    async def add_own(self, line: Line, port: int) -> int:
        """Return a place that only one caller knows: in front of a server that says nothing of itself."""
        return await self._open(port, lambda _: line)

    async def _open(self, port: int, line_of: Callable[[bytes], Line]) -> int:
        door = Door(port, line_of)
        self._doors.append(door)
        return await door.open()

    def place_of(self, port: int) -> int:
        """Return the place in front of a server."""
        return self._places[port]

    def port_at(self, place: int) -> int:
        """Return whose place that is."""
        return self._ports[place]

    def _line(self, port: int, said: bytes) -> Line:
        user = read_user(said)
        return self.lines[user] if user else self._line_between(port, "")

    def _line_between(self, port: int, caller: str) -> Line:
        line = self._between.get((port, caller))
        if line is None:
            line = self._between[port, caller] = Line()
            if port in self._isolated or (caller and caller in self._isolated.values()):
                line.freeze()
        return line

    def isolate(self, port: int, name: str = "") -> None:
        """Let nothing pass between this server and any other; `name` is its id in a cluster."""
        self._isolated[port] = name
        for line in self._of_server(port, name):
            line.freeze()

    def rejoin(self, port: int) -> None:
        """Let everything pass again, also what was sent meanwhile."""
        for line in self._of_server(port, self._isolated.pop(port)):
            line.heal()

    def _of_server(self, port: int, name: str) -> list[Line]:
        return [line for (called, caller), line in self._between.items() if called == port or (name and caller == name)]

    async def aclose(self) -> None:
        """End everything."""
        for line in (*self.lines.values(), *self._between.values()):
            line.cut()
        for door in self._doors:
            await door.aclose()
