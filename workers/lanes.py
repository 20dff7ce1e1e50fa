"""Lanes: how many sessions one process holds at once, on one event loop.

A Celery task hands its sessions over and blocks while no lane is free, or while we take in more than we can keep
(workers/admission.py): that is the back-pressure which leaves in the broker, for others, what is not for us. A session that
is in a lane already is not taken twice; it is looked at once more afterwards, because the wake-up may be for what came
after that slice's claim was refused, and would otherwise be sent again only later. The loop's lag is measured, because
everything here shares it.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from workers.admission import Pace, choose_room, is_eased

log = logging.getLogger(__name__)

LAG_SECONDS = 0.5
#: How often the loop is felt while somebody is in a lane, for its worst lag: what blocks it again and again may do so in step
#: with the looks above, which then see half of each stall, for ever.
PULSE_SECONDS = 0.1

#: How long a handing-over thread sleeps at most before it looks whether the worker drains.
LOOK_SECONDS = 0.5


class Lanes:
    """Runs `run(session_id)` for at most `count` sessions at a time; `started` is told once a session's claim is answered.

    The counts belong to `_changed`, for threads take lanes and the loop gives them back; all else belongs to the loop.
    Whoever waits here is let go by a drain, and once `is_ending` says that one will follow.
    """

    def __init__(
        self,
        count: int,
        run: Callable[[str], Coroutine[Any, Any, object]],
        *,
        pace: Pace | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run = run
        self._is_ending = is_ending
        self._pace = pace or Pace()
        self._changed = threading.Condition()
        self._free, self._starting, self._waiting = count, 0, 0
        self._held: dict[str, asyncio.Task[object]] = {}
        self._unanswered: set[str] = set()
        self._again: set[str] = set()
        self.count = count
        self.draining = False
        self.lag_ms = self._worst_lag_ms = 0.0
        self._expected = math.inf
        self._is_felt = False
        #: For how long the oldest renewal of a lease is without an answer; the heartbeat says it.
        self.behind_seconds = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._empty: asyncio.Event | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this loop; called on it."""
        self._loop = loop
        self._empty = asyncio.Event()
        self._empty.set()
        self._plan_look(loop)

    def _plan_look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._expected = time.monotonic() + LAG_SECONDS
        loop.call_later(LAG_SECONDS, self._measure)

    def _measure(self) -> None:
        self.lag_ms = max((time.monotonic() - self._expected) * 1000, 0.0)
        self._worst_lag_ms = max(self._worst_lag_ms, self.lag_ms)
        if self._loop is not None:
            self._plan_look(self._loop)
        with self._changed:
            self._tell()

    def _feel(self, due: float) -> None:
        now = time.monotonic()
        self._worst_lag_ms = max(self._worst_lag_ms, (now - due) * 1000)
        self._is_felt = bool(self._held) and self._loop is not None
        if self._is_felt and self._loop is not None:
            self._loop.call_later(PULSE_SECONDS, self._feel, now + PULSE_SECONDS)

    @property
    def held(self) -> int:
        """How many sessions are in lanes now."""
        return len(self._held)

    @property
    def lag_seconds(self) -> float:
        """How late the loop is, when it looked last or by now if it should have; or how late renewals are answered."""
        return max(self.lag_ms / 1000, time.monotonic() - self._expected, self.behind_seconds)

    def take_worst_lag_ms(self) -> float:
        """Return how late the loop was at its worst since this was last asked: a look alone may fall between two stalls."""
        overdue_ms = (time.monotonic() - self._expected) * 1000  # negative while the next look is not due
        worst, self._worst_lag_ms = max(self._worst_lag_ms, overdue_ms), 0.0
        return worst

    def is_contended(self) -> bool:
        """Say whether somebody waits for a lane: then a slice should come to its end."""
        return self._waiting > 0 and self._free == 0

    def hand_over(self, session_ids: Sequence[str]) -> int:
        """Put sessions into lanes, from any thread but the loop's; return how many were taken.

        Blocks while there is no room. What is left when the worker drains is left in the store,
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
        """Take as many lanes as there is room for, waiting for the first; return how many, 0 when the worker drains."""
        with self._changed:
            if self._room() == 0:
                self._wait_for_room()
            if self.draining or self._is_ending():
                return 0
            count = min(most, self._room())
            self._free -= count
            self._starting += count
            return count

    def _wait_for_room(self) -> None:
        self._waiting += 1
        try:
            while not (self.draining or self._is_ending() or self._is_open()):
                self._changed.wait(LOOK_SECONDS)
        finally:
            self._waiting -= 1

    def _room(self) -> int:
        held = self.count - self._free
        return choose_room(
            self._pace, free=self._free, held=held, starting=self._starting, lag_seconds=self.lag_seconds
        )

    def _is_open(self) -> bool:
        return is_eased(self._pace, starting=self._starting) and self._room() > 0

    def _tell(self) -> None:
        """Wake those who wait, where there is something for them."""
        if self._waiting and self._is_open():
            self._changed.notify_all()

    def _give_back(self, *, lane: bool, start: bool) -> None:
        """Count a lane that is free again, and a session that starts no more."""
        with self._changed:
            self._free += lane
            self._starting -= start
            self._tell()

    def _start_all(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self._start(session_id)

    def _start(self, session_id: str) -> None:
        if session_id in self._held or self._loop is None or self.draining:
            if session_id in self._held:
                self._again.add(session_id)
            self._give_back(lane=True, start=True)
            return
        task = self._loop.create_task(self._run(session_id), name=session_id)
        self._held[session_id] = task
        self._unanswered.add(session_id)
        if self._empty is not None:
            self._empty.clear()
        if not self._is_felt:
            self._feel(time.monotonic())
        task.add_done_callback(self._ended)

    def started(self, session_id: str) -> None:
        """Say that a session's claim is answered, and that the heartbeat knows of its lease; or that it claims later."""
        if session_id in self._unanswered:
            self._unanswered.discard(session_id)
            self._give_back(lane=False, start=True)

    def _ended(self, task: asyncio.Task[object]) -> None:
        session_id = task.get_name()
        self._held.pop(session_id, None)
        was_starting = session_id in self._unanswered
        self._unanswered.discard(session_id)
        if not self._held and self._empty is not None:
            self._empty.set()
        if session_id in self._again:  # it keeps the lane that it has
            self._again.discard(session_id)
            if not was_starting:
                with self._changed:
                    self._starting += 1
            self._start(session_id)
        else:
            self._give_back(lane=True, start=was_starting)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The session keeps its lease until it runs out; then it is rescued, and tried elsewhere.
            log.error("session %s: its slice failed: %s", session_id, error, exc_info=error)

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
