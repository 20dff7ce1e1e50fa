"""Leave sessions that nobody here can work on to others, without asking for them over and over.

A claim that is answered `newer` (a newer Baton has touched it) or `foreign` (it is of an app's version that we have not) lets
its wake-up be sent again within half a second, to reach somebody else. While a worker lives that may take it, that is all: in
an upgrade nobody waits longer. Where none does, each such wake-up is in vain, and takes the room of sessions that somebody can
work on: the session is left alone for as long as nobody has been seen so far, up to half a minute. So the first worker
that can take it finds it within the time that none was there, and within half a minute after a long one.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from orchestrator.store.due import MOST_LEFT_SECONDS, Due
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.leases import ClaimRefused

#: For how long a session is left at least and at most, and how old what is known of the fleet may be.
LEAST_SECONDS: Final = 1.0
MOST_SECONDS: Final = MOST_LEFT_SECONDS
LOOK_SECONDS: Final = 1.0


class LeftToOthers:
    """What one process knows of those who can do what it cannot. `now` is a monotonic clock, `look` brings who is at work."""

    def __init__(
        self,
        due: Due,
        look: Callable[[], Awaitable[Sequence[WorkerInfo]]],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._due = due
        self._look = look
        self._now = now
        self._members: Sequence[WorkerInfo] = ()
        self._looked_at = -LOOK_SECONDS
        #: By app and format, 0 for any: since when nobody has been seen, and when that was found last.
        self._missed: dict[tuple[str, int], tuple[float, float]] = {}

    async def leave(self, session_id: str, refused: ClaimRefused) -> None:
        """Leave a session alone for a while, unless somebody lives who can work on it."""
        now = self._now()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at, self._members = now, await self._look()
        wanted, app = int(refused.detail) if refused.answer == "newer" else 0, refused.app
        if any(one.format >= wanted and app in one.digests and not one.draining for one in self._members):
            self._missed.pop((app, wanted), None)
            return
        since, last = self._missed.get((app, wanted), (now, now))
        if now - last > 2 * MOST_SECONDS:  # nobody asked in between: perhaps because somebody was there
            since = now
        self._missed[app, wanted] = since, now
        if now - since >= LEAST_SECONDS:
            await self._due.leave(session_id, min(now - since, MOST_SECONDS))
