"""What stands in a pool's line now, what runs, and the pace of the last moments: the figures that scaling.py judges.

The command line and the API both ask a `PoolWatch`, so that they say the same.
"""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from orchestrator.scaling import Advice, Load, Pool, advise
from orchestrator.settings import Settings
from orchestrator.store.codec import PLUGINS_MARK
from orchestrator.store.pauses import Pauses

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.store.gauges import Gauges

#: An earlier look that is older than this says nothing of the pace now.
STALE_SECONDS: Final = 60.0


class PoolWatch:
    """Says how many workers a store's pools need. It remembers its last look: who asks regularly does not wait for the pace."""

    def __init__(self, client: "Client", settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._last: Gauges | None = None

    async def advise(self, pool: Pool, *, over_seconds: float) -> tuple[Load, Advice]:
        """Return a pool's load and what follows from it; its pace is that of at least so many seconds."""
        settings = self._settings
        before, now = self._last, await self._client.measure()
        age = (now.now - before.now) / 1000 if before is not None else 0.0
        if before is None or not over_seconds <= age <= STALE_SECONDS:
            await asyncio.sleep(over_seconds)
            before, now = now, await self._client.measure()
        self._last = now
        load = await load_pool(
            self._client,
            pool,
            before,
            now,
            queue=settings.queues.plugins if pool == "plugins" else settings.queues.steps,
            slots_each=settings.worker.plugin_slots if pool == "plugins" else settings.lanes.per_process,
        )
        return load, advise(load)


async def load_pool(
    client: "Client", pool: Pool, before: "Gauges", now: "Gauges", *, queue: str, slots_each: int
) -> Load:
    """Return a pool's load between two looks.

    `queue` is its queue's name at the broker: workers that do not take from it do not count. `slots_each` stands in where
    no worker lives that says its own.
    """
    members, paused = await asyncio.gather(client.workers(), Pauses(client.store).targets())
    is_plugins = pool == "plugins"
    alive = [
        one
        for one in members
        if one.kind == "worker"
        and not one.draining
        and (not one.queues or queue in one.queues)
        and (one.plugin_slots or not is_plugins)
    ]
    lines = await count_lines(client, now, is_plugins=is_plugins)
    held = {app: _count_held(client, app, *lines[app], now, paused) for app in lines}
    firsts = [
        one.first_in_line[line]
        for app, one in now.apps.items()
        for line in (("plugins",) if is_plugins else ("steps", "finalize"))
        if not held[app] or (line == "finalize" and f"app:{app}" not in paused)
    ]
    steps, spent = (_grown(before, now, word, is_plugins=is_plugins) for word in ("step:", "spent:"))
    seconds = max((now.now - before.now) / 1000, 0.001)
    return Load(
        pool=pool,
        workers=len(alive),
        slots_each=max((one.plugin_slots if is_plugins else one.slots for one in alive), default=0) or slots_each,
        running=sum(one.plugins_running if is_plugins else one.running for one in alive),
        in_line=sum(ready + ending for ready, ending in lines.values()),
        held=sum(held.values()),
        oldest_seconds=max((now.seconds_since(at) for at in firsts), default=0.0),
        step_rate=steps / seconds,
        step_seconds=spent / 1_000_000 / steps if steps else 0.0,
        paused=f"queue:{pool}" in paused,
    )


async def count_lines(client: "Client", now: "Gauges", *, is_plugins: bool) -> dict[str, tuple[int, int]]:
    """Return how many sessions of each app stand in a pool's lines: ready, in the one of plugins or not, and at their end."""
    store = client.store
    after = chr(ord(PLUGINS_MARK) + 1)

    async def count_plugins(app: str) -> int:
        found = await asyncio.gather(
            *(
                store.command(
                    "ZLEXCOUNT",
                    store.keys.of_partition("by", number),
                    f"[{app}:ready:{PLUGINS_MARK}",
                    f"({app}:ready:{after}",
                )
                for number in range(store.keys.partitions)
            )
        )
        return sum(int(count) for count in found)

    plugins = await asyncio.gather(*map(count_plugins, now.apps))
    if is_plugins:
        return {app: (count, 0) for app, count in zip(now.apps, plugins, strict=True)}
    # They are counted a moment later than the rest: some may have joined that line since.
    return {
        app: (max(one.phases["ready"] - count, 0), one.phases["finalizing"])
        for (app, one), count in zip(now.apps.items(), plugins, strict=True)
    }


def _count_held(client: "Client", app: str, ready: int, ending: int, now: "Gauges", paused: Collection[str]) -> int:
    """Return how many of an app's in line no worker could begin: all of one that is paused, and what is over its max_running."""
    if f"app:{app}" in paused:
        return ready + ending
    spec = client.specs.get(app)
    if spec is None or spec.max_running is None:
        return 0
    return max(ready - max(spec.max_running - now.apps[app].phases["running"], 0), 0)


def _grown(before: "Gauges", now: "Gauges", word: str, *, is_plugins: bool) -> int:
    """Return by how much the counters of this pool's steps have grown."""
    names = [name for name in now.counters if name.startswith(word) and (":plugin_pass:" in name) is is_plugins]
    return sum(now.counters[name] - before.counters.get(name, 0) for name in names)
