"""Who is at work: workers with their slots, and which scheduler leads which partition.

Both are leases on a clock and only advice: a worker that is listed may be dead for a moment, two
schedulers may both believe to lead. Neither can harm a session; the fence sees to that.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError

from orchestrator.contracts.base import Shared
from orchestrator.store.codec import pairs
from orchestrator.store.keys import WORKER_INFO, WORKERS, leader_key
from orchestrator.store.store import Store

#: What a scheduler leads: a partition by its number, or an app by its name.
Part = TypeVar("Part", int, str)


class WorkerInfo(Shared):
    """What a worker process (or a scheduler) says of itself at every beat.

    `clock_ahead_ms` is how far its own clock is before the server's, less than 0 behind it. Nothing rests on it.
    `lease_seconds` is how long its leases last, 0 where it does not say.
    `version` is Baton's own, `format` what it reads and writes (contracts/formats.py); `tier` is the isolation that its sandbox has, "" where it runs no plugins.
    """

    name: str
    kind: str = "worker"
    host: str = ""
    pid: int = 0
    started_at: int = 0
    beat_at: int = 0
    queues: tuple[str, ...] = ()
    slots: int = 0
    running: int = 0
    draining: bool = False
    digests: dict[str, str] = {}
    rss_bytes: int = 0
    loop_lag_ms: float = 0.0
    steps: int = 0
    plugin_slots: int = 0
    plugins_running: int = 0
    clock_ahead_ms: int = 0
    lease_seconds: float = 0.0
    version: str = ""
    format: int = 1
    tier: str = ""


class Fleet:
    """The register of workers and leaders."""

    def __init__(self, store: Store, *, beat_seconds: float) -> None:
        self._store = store
        self._alive_ms = int(beat_seconds * 3 * 1000)

    async def beat(self, info: WorkerInfo) -> str | None:
        """Say that we live; return an operator's order (`drain`), if there is one."""
        now = await self._store.now_ms()
        told = info.model_copy(update={"beat_at": now, "clock_ahead_ms": int(time.time() * 1000) - now})
        # All at once: where something blocks the loop each answer waits for the loop's next turn, and by the third one
        # who beats would be past the time until which it says that it lives. Just then somebody wants to see it.
        *_, order = await asyncio.gather(
            self._store.command("HSET", WORKER_INFO, info.name, told.to_json()),
            self._store.command("ZADD", WORKERS, now + self._alive_ms, info.name),
            self._store.command("HGET", f"{WORKERS}:orders", info.name),
        )
        return str(order) if order else None

    async def leave(self, name: str) -> None:
        """Take ourselves off the list."""
        await self._store.command("ZREM", WORKERS, name)
        await self._store.command("HDEL", WORKER_INFO, name)
        await self._store.command("HDEL", f"{WORKERS}:orders", name)

    async def members(self) -> list[WorkerInfo]:
        """Return who is alive; forget who has been silent for long."""
        now = await self._store.now_ms()
        gone = await self._store.command("ZRANGEBYSCORE", WORKERS, "-inf", now - 60_000)
        for name in gone:
            await self.leave(name)
        alive = pairs(await self._store.command("ZRANGEBYSCORE", WORKERS, now, "+inf", "WITHSCORES"))
        found = []
        for name, body in pairs(await self._store.command("HGETALL", WORKER_INFO)).items():
            if name in alive:
                try:
                    found.append(WorkerInfo.from_json(body))
                except ValidationError:  # another version's worker: it lives, but says it in other words
                    found.append(WorkerInfo(name=name, kind="unknown"))
                await self._bring_near(found[-1], now, int(alive[name]))
        return sorted(found, key=lambda info: info.name)

    async def _bring_near(self, info: WorkerInfo, now: int, until: int) -> None:
        """Believe in nobody for longer than a beat is good for.

        Who was seen later than now was seen before the server's clock went back: it was set, or a failover led to another server.
        One who died then would count as alive for as long as that step, and what it leads be led by nobody. Who lives beats again.
        """
        if now + self._alive_ms < info.beat_at < until:
            await self._store.command("ZADD", WORKERS, "XX", "LT", now + until - info.beat_at, info.name)

    async def order(self, name: str, order: str) -> None:
        """Leave an order for a worker; it reads it at its next beat."""
        await self._store.command("HSET", f"{WORKERS}:orders", name, order)

    async def lead(self, name: str, parts: Sequence[Part], seconds: float) -> list[Part]:
        """Take or keep the lead of partitions, or of apps; return those that are ours."""
        leads = await asyncio.gather(*(self._lead_one(name, part, int(seconds * 1000)) for part in parts))
        return [part for part, is_ours in zip(parts, leads, strict=True) if is_ours]

    async def _lead_one(self, name: str, part: int | str, lease_ms: int) -> bool:
        key = leader_key(part)
        if await self._store.command("SET", key, name, "NX", "PX", lease_ms):
            return True
        if await self._store.command("GET", key) != name:
            # No lead lasts longer than one that begins now, unless the server's clock has gone back since: the lead of one who
            # died then would last as long as that step. Who lives renews its own.
            if await self._store.command("PTTL", key) > lease_ms:
                await self._store.command("PEXPIRE", key, lease_ms)
            return False
        await self._store.command("PEXPIRE", key, lease_ms)
        return True

    async def yield_lead(self, name: str, parts: Sequence[int | str]) -> None:
        """Give up what is ours, so that another need not wait for the lease to end."""
        await asyncio.gather(*(self._yield_one(name, part) for part in parts))

    async def _yield_one(self, name: str, part: int | str) -> None:
        if await self._store.command("GET", leader_key(part)) == name:
            await self._store.command("DEL", leader_key(part))
