"""The server's power: ended in order, killed, or cut so that what the disk did not have yet is gone.

A kill -9 takes nothing that the server has written: the kernel keeps it. A power cut takes what no fsync has covered.
To do that for real without a machine that may be switched off, this module knows at every moment up to where the file is
safe: it writes a mark every few milliseconds, each over a connection of its own that then waits for the disk
(WAITAOF). After the kill the file is cut off behind the first mark that nobody confirmed: all that was
confirmed to anybody lies before it, and at most a mark's pace more than that is kept.
"""

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from orchestrator import embedded
from orchestrator.embedded import Fsync, RunningServer
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms

PACE_SECONDS = 0.02
#: How long the marks run before a cut: longer than an fsync can take to come round.
RUN_UP_SECONDS = 2.5
#: Between the moment from which nobody is answered any more and the kill: all confirmations have arrived by then.
SETTLE_SECONDS = 0.05


@dataclass(frozen=True)
class Cut:
    """A power cut: when (monotonic ms), how many bytes of the file it took, and how far back that was."""

    at: float
    bytes_lost: int
    back_ms: float


@dataclass
class Mark:
    """A point of the file: its size once the mark was in it, when that was, and whether the disk has it."""

    at: float
    size: int
    is_safe: bool = False


class Power:
    """One embedded server that can lose its power."""

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        self.folder = folder
        self.fsync: Fsync = fsync
        self.server: RunningServer = embedded.start(folder, fsync=fsync)

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

    async def cut(self, before: "asyncio.Event | None" = None) -> Cut:
        """End it at once, and take what no fsync has covered; `before` is set when nobody may be answered any more."""
        marks: list[Mark] = []
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + RUN_UP_SECONDS
        while loop.time() < until:
            tasks.append(asyncio.create_task(self._mark(marks)))
            await pause(PACE_SECONDS)
        if before is not None:
            before.set()
        at = now_ms()
        await pause(SETTLE_SECONDS)
        file = self.file
        await self.kill()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        marks.sort(key=lambda mark: mark.size)
        last = max((number for number, mark in enumerate(marks) if mark.is_safe), default=-1)
        whole = file.stat().st_size
        first = marks[last + 1] if last + 1 < len(marks) else Mark(at, whole)
        os.truncate(file, first.size)
        return Cut(at, whole - first.size, max(at - first.at, 0.0))

    async def _mark(self, marks: list[Mark]) -> None:
        """Write a mark, and wait until the disk has it."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.server.socket)
        except OSError:
            return
        try:
            writer.write(b"INCR chaos:mark\r\nWAITAOF 1 0 0\r\n")
            if not (await reader.readline()).startswith(b":"):
                return
            mark = Mark(now_ms(), self.file.stat().st_size)
            marks.append(mark)
            mark.is_safe = (await reader.readline()).startswith(b"*")
        except OSError:
            return
        finally:
            writer.transport.abort()

    def close(self) -> None:
        """End it for good."""
        embedded.stop(self.folder)
