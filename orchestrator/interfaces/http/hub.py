"""Event streams: one look at the store for all who watch, whatever their number.

A session that somebody watches is a topic; a single task asks for the latest entry number of every topic in one round trip and
wakes those who wait for more. Streams of one process are bounded.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from orchestrator.contracts.errors import StoreError
from orchestrator.interfaces.http.problems import Refused
from orchestrator.operations import Operations

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Topic:
    """A session that is watched: its latest entry's number, and who shall be woken by another one."""

    seq: int = 0
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, seq: int) -> None:
        """Wake everybody who waits."""
        self.seq = seq
        self.changed.set()
        self.changed = asyncio.Event()


class Hub:
    """The topics of one process."""

    def __init__(self, operations: Operations, *, seconds: float, most: int) -> None:
        self._operations = operations
        self._seconds = seconds
        self._most = most
        self._topics: dict[str, Topic] = {}
        self._looking: asyncio.Task[None] | None = None
        self.streams = 0
        self.is_closing = False

    @asynccontextmanager
    async def watch(self, session_id: str) -> AsyncIterator[Topic]:
        """Lend a session's topic for as long as a stream lasts; raise Refused where there are too many streams."""
        if self.streams >= self._most or self.is_closing:
            raise Refused("unavailable", 503, "no more event streams here; try again soon", {"Retry-After": "5"})
        topic = self._topics.setdefault(session_id, Topic())
        topic.watchers += 1
        self.streams += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_forever(), name="baton-streams")
        try:
            yield topic
        finally:
            self.streams -= 1
            topic.watchers -= 1
            if topic.watchers == 0:
                self._topics.pop(session_id, None)

    async def wait_beyond(self, topic: Topic, seq: int, seconds: float) -> bool:
        """Wait until there is an entry after `seq`; False where the time is over first."""
        changed = topic.changed
        if topic.seq > seq or self.is_closing:
            return True
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    async def _look_forever(self) -> None:
        while self._topics and not self.is_closing:
            watched = list(self._topics)
            try:
                seqs = await self._operations.seqs(watched)
            except StoreError as error:
                log.warning("event streams: %s", error)
            else:
                for session_id, seq in zip(watched, seqs, strict=True):
                    topic = self._topics.get(session_id)
                    # A store that went back in time has fewer: whoever waits for more must not be told that they are there.
                    if topic is not None and seq != topic.seq:
                        topic.tell(seq)
            await asyncio.sleep(self._seconds)

    def close(self) -> None:
        """Tell every stream to end, also those that wait; there will be no others."""
        self.is_closing = True
        for topic in self._topics.values():
            topic.tell(topic.seq)

    async def aclose(self) -> None:
        """End every stream, and stop looking."""
        self.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
