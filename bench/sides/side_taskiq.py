"""Taskiq: a stream broker, whose messages are acknowledged, and its receiver on one loop in this process."""

import asyncio
import time
from contextlib import suppress

from redis.asyncio import Redis
from side_kept import ENTRY, Kept
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker


class Side:
    """A task that does a step and sends the next."""

    def __init__(self, url: str, _folder: str) -> None:
        self._kept, self._url = Kept(url), url

    def round(self, sessions: int, steps: int) -> tuple[float, float]:
        """Return when it began and ended."""
        return asyncio.run(self._round(sessions, steps))

    async def _round(self, sessions: int, steps: int) -> tuple[float, float]:
        kept, client, ended = self._kept, Redis.from_url(self._url), asyncio.Event()
        broker = RedisStreamBroker(self._url)

        @broker.task
        async def step(session: int, number: int, of: int) -> None:
            state = await client.hget(f"s:{session}", "state")
            pipe = client.pipeline(transaction=True)
            pipe.xadd(f"j:{session}", {"e": ENTRY})
            pipe.hset(f"s:{session}", "state", state)
            await pipe.execute()
            if number < of:
                await step.kiq(session, number + 1, of)
            else:
                kept.end()
                if kept.ended.is_set():
                    ended.set()

        kept.begin(sessions)
        await broker.startup()
        for one in range(sessions):
            await step.kiq(one, 1, steps)
        began = time.time()
        receiver = asyncio.create_task(run_receiver_task(broker))
        async with asyncio.timeout(120):
            await ended.wait()
        receiver.cancel()
        with suppress(asyncio.CancelledError):
            await receiver
        await broker.shutdown()
        await client.aclose()
        return began, kept.close(sessions, steps)
