"""Somebody who follows a session's journal as an event stream, and comes back behind the last number whenever the stream breaks.

Each entry must come once and in order, over however many connections, processes and servers. What a server took back with it
(a power cut, a failover) was shown before it was gone: those outside then go back to what is kept, as the driver does.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import httpx2

from orchestrator.contracts.session import Entry
from orchestrator.interfaces.cli.shapes import entry_shape
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms

#: A silent stream says every 15 s that it lives; one that does not is dead.
SILENT_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 4.0
AGAIN_SECONDS: Final = 0.3
#: Of what is wrong again and again, so much is told.
MOST_TOLD: Final = 8


@dataclass(frozen=True)
class Shown:
    """One event: the number in its `id`, the entry in its `data`, and when it came (monotonic ms)."""

    number: int
    entry: dict[str, Any]
    at: float


@dataclass
class Followed:
    """What one follower was shown. `gone` are lines for what it was shown and was lost that nothing explains."""

    session_id: str
    shown: list[Shown] = field(default_factory=list)
    connections: int = 0
    unexplained: list[str] = field(default_factory=list)
    forgotten: int = 0
    has_ended: bool = False


class Follower:
    """Follows one session until it is told to stop."""

    def __init__(self, http: httpx2.AsyncClient, session_id: str) -> None:
        self.http = http
        self.found = Followed(session_id)
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, or go on."""
        self._task = asyncio.create_task(self._follow_forever())

    async def stop(self) -> None:
        """Leave the stream."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def until_over(self) -> None:
        """Return once it is told that the session has ended, and that there is nothing behind the last number."""
        self._over.clear()
        await self._over.wait()

    async def go_back(self, journal: Sequence[Entry], *, since: float) -> None:
        """Forget what the journal has no more, and go on behind what it has; nothing explains what was shown before `since`."""
        found = self.found
        kept = count_kept(found.shown, journal)
        for one in found.shown[kept:]:
            found.forgotten += 1
            if one.at < since:
                found.unexplained.append(f"entry {one.number} was shown and is gone")
        del found.shown[kept:]
        found.has_ended = False
        self.start()

    async def _follow_forever(self) -> None:
        while True:
            await self._connect()
            await pause(AGAIN_SECONDS)

    async def _connect(self) -> None:
        """Read one connection to its end, whatever ends it."""
        found = self.found
        last = found.shown[-1].number if found.shown else 0
        headers = {"Last-Event-ID": str(last)} if last else {}
        timeout = httpx2.Timeout(ANSWER_SECONDS, read=SILENT_SECONDS)
        found.connections += 1
        try:
            async with self.http.stream(
                "GET", f"/v1/sessions/{found.session_id}/events", headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code == 204:
                    found.has_ended = True
                    self._over.set()
                elif answer.status_code == 200:
                    await read_events(answer, self._note)
        except httpx2.TransportError:
            return

    def _note(self, name: str, number: str, data: str) -> None:
        if name == "end":
            self.found.has_ended = True
            return
        self.found.shown.append(Shown(int(number or -1), json.loads(data), now_ms()))


async def read_events(answer: httpx2.Response, note: Callable[[str, str, str], None]) -> None:
    """Hand on each whole event of a stream: its name, its id, its data."""
    parts: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if not line:
            if "data" in parts:
                note(parts.get("event", ""), parts.get("id", ""), parts["data"])
            parts = {}
        elif name:
            parts[name] = value


def count_kept(shown: Sequence[Shown], journal: Sequence[Entry]) -> int:
    """Return how many of the first events are what the journal still says; those that were never in order count, too."""
    by_number = {entry.seq: entry_shape(entry) for entry in journal}
    for place, one in enumerate(shown):
        if by_number.get(one.number) != one.entry:
            return place
    return len(shown)


def judge_follower(followed: Followed, journal: Sequence[Entry]) -> list[str]:
    """Return a line for everything that was shown twice, out of order, not at all, or otherwise than the journal has it."""
    sid = followed.session_id
    wrong = [f"{sid}: a follower lost what nothing took: {line}" for line in followed.unexplained]
    numbers = [one.number for one in followed.shown]
    if twice := [number for number, count in Counter(numbers).items() if count > 1]:
        wrong.append(f"{sid}: a follower was shown entries twice: {twice}")
    if back := [pair for pair in pairwise(numbers) if pair[0] > pair[1]]:
        wrong.append(f"{sid}: a follower was shown entries out of order: {back[:MOST_TOLD]}")
    if missing := sorted({entry.seq for entry in journal} - set(numbers)):
        wrong.append(f"{sid}: a follower was never shown entries {missing}")
    kept = {entry.seq: entry_shape(entry) for entry in journal}
    if other := sorted({one.number for one in followed.shown if kept.get(one.number) != one.entry}):
        wrong.append(f"{sid}: a follower was shown entries that the journal has otherwise: {other}")
    if not followed.has_ended:
        wrong.append(f"{sid}: a follower was never told that the session has ended")
    return wrong
