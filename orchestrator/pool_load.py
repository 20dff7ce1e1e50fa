"""What stands in a pool's line now, what runs, and the pace of the last moments: the figures that scaling.py judges."""

import asyncio
from typing import TYPE_CHECKING

from orchestrator.scaling import Load, Pool
from orchestrator.store.codec import PLUGINS_MARK

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.store.gauges import Gauges


async def load_pool(client: "Client", pool: Pool, *, slots_each: int, over_seconds: float) -> Load:
    """Return a pool's load; its pace is watched for so long. `slots_each` stands in where no worker lives that says its own."""
    before = await client.measure()
    await asyncio.sleep(over_seconds)
    now, members = await client.measure(), await client.workers()
    is_plugins = pool == "plugins"
    alive = [
        one for one in members if one.kind == "worker" and not one.draining and (one.plugin_slots or not is_plugins)
    ]
    firsts = [
        one.first_in_line[line]
        for one in now.apps.values()
        for line in (("plugins",) if is_plugins else ("steps", "finalize"))
    ]
    steps, spent = (_grown(before, now, word, is_plugins=is_plugins) for word in ("step:", "spent:"))
    seconds = max((now.now - before.now) / 1000, 0.001)
    return Load(
        pool=pool,
        workers=len(alive),
        slots_each=max((one.plugin_slots if is_plugins else one.slots for one in alive), default=0) or slots_each,
        running=sum(one.plugins_running if is_plugins else one.running for one in alive),
        in_line=await count_in_line(client, is_plugins=is_plugins),
        oldest_seconds=max((now.seconds_since(at) for at in firsts), default=0.0),
        step_rate=steps / seconds,
        step_seconds=spent / 1_000_000 / steps if steps else 0.0,
    )


async def count_in_line(client: "Client", *, is_plugins: bool) -> int:
    """Return how many sessions stand in the line of plugins, or in those of steps and ends."""
    store = client.store
    after = chr(ord(PLUGINS_MARK) + 1)
    apps = await client.views.apps()
    found = await asyncio.gather(
        *(
            store.command(
                "ZLEXCOUNT",
                store.keys.of_partition("by", number),
                f"[{app}:ready:{PLUGINS_MARK}",
                f"({app}:ready:{after}",
            )
            for app in apps
            for number in range(store.keys.partitions)
        )
    )
    plugins = sum(int(count) for count in found)
    if is_plugins:
        return plugins
    counts = await client.counts()
    return sum(one["ready"] + one["finalizing"] for one in counts.values()) - plugins


def _grown(before: "Gauges", now: "Gauges", word: str, *, is_plugins: bool) -> int:
    """Return by how much the counters of this pool's steps have grown."""
    names = [name for name in now.counters if name.startswith(word) and (":plugin_pass:" in name) is is_plugins]
    return sum(now.counters[name] - before.counters.get(name, 0) for name in names)
