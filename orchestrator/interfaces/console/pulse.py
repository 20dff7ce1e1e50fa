"""One look at the store for all open pages: its figures of the last hour, and word that something has changed.

A page that follows is told `change` when the store's figures differ from before, and `tick` now and then, so that ages
grow; it then fetches itself. While nobody follows, the figures are looked at for the charts alone.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Final

from orchestrator.contracts.errors import StoreError
from orchestrator.history import History
from orchestrator.interfaces.http.parts import Parts
from orchestrator.interfaces.http.problems import Refused

log = logging.getLogger(__name__)

WATCHED_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 10.0
TICK_SECONDS: Final = 5.0


class Pulse:
    """The pulse of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watchers = 0
        self._number = 0
        self._last: object = None
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.history = History()

    async def look(self) -> None:
        """Take the store's figures, and wake who follows where they are new."""
        gauges = await self._parts.client.measure()
        workers = [(one.name, one.draining, one.running) for one in await self._parts.client.workers()]
        pauses = [one.target for one in await self._parts.operations.pauses()]
        self.history.add(gauges)
        found = (gauges.counters, gauges.apps, gauges.dead, gauges.leases, workers, pauses)
        if found != self._last:
            self._last = found
            self._number += 1
            self._changed.set()
            self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_forever(), name="baton-console")

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_forever(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.warning("console: %s", error)
            self._wanted.clear()
            if self._watchers:
                await asyncio.sleep(WATCHED_SECONDS)
                continue
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def follow(self) -> AsyncGenerator[str, None]:
        """Yield server-sent events until the process ends; raise Refused where there are too many streams."""
        hub, settings = self._parts.hub, self._parts.settings.api
        if hub.is_closing or hub.streams >= settings.streams:
            raise Refused("unavailable", 503, "no more event streams here; try again soon", {"Retry-After": "5"})
        hub.streams += 1
        self._watchers += 1
        self._wanted.set()
        try:
            yield "retry: 2000\n\n"
            while not hub.is_closing:
                number, changed = self._number, self._changed
                try:
                    async with asyncio.timeout(TICK_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    pass
                yield f"event: {'tick' if number == self._number else 'change'}\ndata: {self._number}\n\n"
        finally:
            hub.streams -= 1
            self._watchers -= 1
