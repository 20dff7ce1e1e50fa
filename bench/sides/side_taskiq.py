"""Taskiq: a stream broker, whose messages are acknowledged, and its receiver on one loop in this process.

The receiver lives as long as the process, for it takes long to end; its tasks wait for the round to begin.
"""

import asyncio
import threading
import time

from redis.asyncio import Redis
from side_kept import ENTRY, ROUND_SECONDS, Kept
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker


class Side:
    """A task that does a step and sends the next."""

    def __init__(self, url: str, _folder: str) -> None:
        self._kept, self._url = Kept(url), url
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(ROUND_SECONDS)

    async def _start(self) -> None:
        kept, client = self._kept, Redis.from_url(self._url)
        self._go = go = asyncio.Event()
        broker = RedisStreamBroker(self._url)

        @broker.task
        async def step(session: int, number: int, of: int) -> None:
            await go.wait()
            state = await client.hget(f"s:{session}", "state")
            pipe = client.pipeline(transaction=True)
            pipe.xadd(f"j:{session}", {"e": ENTRY})
            pipe.hset(f"s:{session}", "state", state)
            await pipe.execute()
            if number < of:
                await step.kiq(session, number + 1, of)
            else:
                kept.end()

        self._step = step
        await broker.startup()
        self._receiver = asyncio.create_task(run_receiver_task(broker))

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        self._kept.begin(sessions)
        asyncio.run_coroutine_threadsafe(self._load(sessions, steps), self._loop).result(ROUND_SECONDS)
        began = time.time()
        self._loop.call_soon_threadsafe(self._go.set)
        return began, self._kept.close(sessions, steps)

    async def _load(self, sessions: int, steps: int) -> None:
        self._go.clear()
        for one in range(sessions):
            await self._step.kiq(one, 1, steps)
