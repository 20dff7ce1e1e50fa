"""The server's power: ended in order, killed, or cut so that what the disk did not have yet is gone.

A kill -9 takes nothing that the server has written: the kernel keeps it. A power cut takes what no fsync has covered.
To see that without a machine that may be switched off, the file of acts is cut off after a kill, at the worst place that
is possible: `everysec` may lose its last second, but nothing that a WAITAOF has confirmed to anybody. Confirmed
is what lies before the last mark (store/durability.py) of which some process has written down that it was confirmed.
What was answered may be older than its place in the file: while an fsync takes its time, the server answers, and writes up to
two seconds later. So the server is asked, too, when it had nothing left to write; what was answered until then is in the file.
With `always`, all that was answered is on the disk, and nothing is cut off.
"""

import asyncio
import os
import resource
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from orchestrator import embedded
from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.embedded import Fsync, RunningServer
from orchestrator.store.keys import DURABLE
from orchestrator.store.wire import ServerRefused, Wire
from tests.chaos.cuts import Cut
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms

#: How often the file is measured, and how much of it `appendfsync everysec` may lose.
LOOK_SECONDS = 0.02
EVERYSEC_MS = 1_000.0
#: Between the moment from which nobody is answered any more and the kill: what was answered before is written down by then, also
#: where a process that got it waits for a processor.
SETTLE_SECONDS = 1.0


class Size(NamedTuple):
    """How long the file was (monotonic ms), and whether all that had been answered by then was in it; and which one it was.

    A server that rewrites its file goes on in another one: the old one's length is none of it.
    """

    at: float
    bytes: int
    is_whole: bool
    file: Path


def find_mark(file: Path, number: int) -> int:
    """Return where the file goes on behind the so-manieth mark, 0 for none."""
    words = f"$4\r\nINCR\r\n${len(DURABLE)}\r\n{DURABLE}\r\n".encode()
    text, at = file.read_bytes(), 0
    for _ in range(number):
        found = text.find(words, at)
        if found < 0:
            raise ValueError(f"{file}: it has fewer than {number} marks; was it rewritten?")
        at = found + len(words)
    return at


class Power:
    """One embedded server that can lose its power."""

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        self.folder = folder
        self.fsync: Fsync = fsync
        self.server: RunningServer = embedded.start(folder, fsync=fsync)
        self._sizes: deque[Size] = deque(maxlen=500)

    @property
    def file(self) -> Path:
        """Return the file that acts are appended to."""
        return max((self.folder / "data" / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)

    async def start(self) -> None:
        """Start it again."""
        self.server = await asyncio.to_thread(embedded.start, self.folder, fsync=self.fsync)

    async def stop(self) -> None:
        """End it in order."""
        await asyncio.to_thread(embedded.stop, self.folder)

    async def kill(self) -> None:
        """End it at once; the kernel keeps what it has written."""
        os.kill(self.server.pid, signal.SIGKILL)
        while embedded.status(self.folder).state != "stopped":
            await pause(0.01)

    def limit_files(self, *, full: bool) -> None:
        """Let its files not grow any more, as on a full disk; or again."""
        most = 1 if full else resource.RLIM_INFINITY
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    async def watch_forever(self) -> None:
        """Measure the file, again and again."""
        wire = Wire(self.server.url)
        try:
            while True:
                at, is_whole = now_ms(), False
                with suppress(StoreUnreachable, ServerRefused):
                    said = str(await wire.command("INFO", "persistence")).splitlines()
                    is_whole = "aof_buffer_length:0" in said
                file = self.file
                self._sizes.append(Size(at, file.stat().st_size, is_whole, file))
                await pause(LOOK_SECONDS)
        finally:
            await wire.aclose()

    async def cut(self, cut_off: Callable[[], None], count_confirmed: Callable[[], int]) -> Cut:
        """End it at once, and take what no fsync has covered.

        `cut_off` must see to it that nobody gets an answer any more; `count_confirmed` says how many marks were
        confirmed to those who got their answers before.
        """
        cut_off()
        at = now_ms()
        await pause(SETTLE_SECONDS)
        file = self.file
        answered = file.stat().st_size
        await self.kill()
        whole = file.stat().st_size
        keep, since = answered, at
        if self.fsync != "always":
            early = [size for size in self._sizes if size.at <= at - EVERYSEC_MS and size.file == file]
            keep = max(early[-1].bytes if early else 0, find_mark(file, count_confirmed()))
            oldest = early[0].at if early else at - EVERYSEC_MS
            since = next((size.at for size in reversed(early) if size.is_whole), oldest)
        os.truncate(file, keep)
        self._sizes.clear()
        return Cut(at, whole - keep, at - since)

    def close(self) -> None:
        """End it for good."""
        embedded.stop(self.folder)
