"""Lanes: how many sessions one process holds at once, on one event loop.

A Celery task hands its sessions over and blocks only while no lane is free: that is the
back-pressure which leaves what we cannot hold in the broker, for others. A session that is in a
lane already is not taken twice; it is looked at once more afterwards, because the wake-up may be
for what came after that slice's claim was refused, and would otherwise be sent again only later. The loop's lag is measured, because everything here shares it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

log = logging.getLogger(__name__)

LAG_SECONDS = 0.5

#: How long a handing-over thread sleeps at most before it looks whether the worker drains.
LOOK_SECONDS = 0.5


class Lanes:
    """Runs `run(session_id)` for at most `count` sessions at a time."""

    def __init__(self, count: int, run: Callable[[str], Coroutine[Any, Any, object]]) -> None:
        self._run = run
        self._free = threading.Semaphore(count)
        self._held: dict[str, asyncio.Task[object]] = {}
        self._again: set[str] = set()
        self._guard = threading.Lock()
        self._asking = 0
        self.count = count
        self.draining = False
        self.lag_ms = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._empty: asyncio.Event | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop; called on it."""
        self._loop = loop
        self._empty = asyncio.Event()
        self._empty.set()
        loop.call_later(LAG_SECONDS, self._measure, loop.time() + LAG_SECONDS)

    def _measure(self, expected: float) -> None:
        if self._loop is None:
            return
        self.lag_ms = max((self._loop.time() - expected) * 1000, 0.0)
        self._loop.call_later(LAG_SECONDS, self._measure, self._loop.time() + LAG_SECONDS)

    @property
    def held(self) -> int:
        """How many sessions are in lanes now."""
        return len(self._held)

    def is_contended(self) -> bool:
        """Say whether somebody waits for a lane: then a slice should come to its end."""
        return self._asking > 0

    def hand_over(self, session_ids: Sequence[str]) -> int:
        """Put sessions into lanes, from any thread but the loop's; return how many were taken.

        Blocks while no lane is free. What is left when the worker drains is left in the store,
        where the scheduler finds it: a wake-up carries no truth.
        """
        left = list(session_ids)
        while left and self._loop is not None:
            count = self._take(len(left))
            if count == 0:
                break
            # One call for all of them: each call wakes the loop, and this thread then waits for its turn again.
            self._loop.call_soon_threadsafe(self._start_all, left[:count])
            del left[:count]
        return len(session_ids) - len(left)

    def _take(self, most: int) -> int:
        """Take a lane, waiting for it, and with it as many more as are free; return how many, 0 when the worker drains."""
        if not self._free.acquire(blocking=False) and not self._wait_for_lane():
            return 0
        count = 1
        while count < most and self._free.acquire(blocking=False):
            count += 1
        if self.draining:
            self._free.release(count)
            return 0
        return count

    def _wait_for_lane(self) -> bool:
        with self._guard:
            self._asking += 1
        try:
            while not self._free.acquire(timeout=LOOK_SECONDS):
                if self.draining:
                    return False
            return True
        finally:
            with self._guard:
                self._asking -= 1

    def _start_all(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self._start(session_id)

    def _start(self, session_id: str) -> None:
        if session_id in self._held or self._loop is None or self.draining:
            if session_id in self._held:
                self._again.add(session_id)
            self._free.release()
            return
        task = self._loop.create_task(self._run(session_id), name=session_id)
        self._held[session_id] = task
        if self._empty is not None:
            self._empty.clear()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._held.pop(task.get_name(), None)
        self._free.release()
        if not self._held and self._empty is not None:
            self._empty.set()
        if task.get_name() in self._again:
            self._again.discard(task.get_name())
            if self._free.acquire(blocking=False):
                self._start(task.get_name())
        if not task.cancelled() and (error := task.exception()) is not None:
            # The session keeps its lease until it runs out; then it is rescued, and tried elsewhere.
            log.error("session %s: its slice failed: %s", task.get_name(), error, exc_info=error)

    async def drain(self, grace_seconds: float) -> int:
        """Take nothing new, let slices come to the end of their step, then stop them; return how many were stopped."""
        self.draining = True
        if self._empty is None:
            return 0
        deadline = time.monotonic() + grace_seconds
        try:
            async with asyncio.timeout(max(grace_seconds, 0)):
                await self._empty.wait()
        except TimeoutError:
            log.warning("drain: %d sessions still run after %.0f s; handing them back", len(self._held), grace_seconds)
        stopped = list(self._held.values())
        for task in stopped:
            task.cancel()
        if stopped:
            await asyncio.wait(stopped, timeout=max(deadline + 5 - time.monotonic(), 1))
        return len(stopped)
