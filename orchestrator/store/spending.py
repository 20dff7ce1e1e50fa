"""What the sessions of an app have used together, by hour, day or month.

Each commit adds what its step used to its partition's counters (`stats`), in the same act; here they are added up, and
an answer counts for a second: a limit may be passed by what was used in that second, by all workers together.
"""

import asyncio
from collections.abc import Collection, Mapping
from time import monotonic

from orchestrator.store.store import Store

FRESH_SECONDS = 1.0

#: What is counted: model turns, tool calls, tokens, money in billionths, milliseconds of steps.
COUNTED = ("turns", "tool_calls", "tokens", "cost_nano", "ms")


def counter_name(app: str, period: str, what: str) -> str:
    """Return the name under which the store counts a use."""
    return f"used:{app}:{period}:{what}"


class Spending:
    """Totals of apps, for one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._totals: dict[tuple[str, str], tuple[float, Mapping[str, int]]] = {}

    async def total(self, app: str, period: str, previous: str) -> Mapping[str, int]:
        """Return what an app used in a period, by the names in COUNTED.

        Whoever first asks about a period forgets those before the `previous` one, to which late commits still add.
        """
        known = self._totals.get((app, period))
        if known is not None and monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        names = [counter_name(app, period, what) for what in COUNTED]
        rows = await self._on_all("HMGET", *names)
        total = {what: sum(int(row[place] or 0) for row in rows) for place, what in enumerate(COUNTED)}
        if known is None:
            self._totals = {key: kept for key, kept in self._totals.items() if key[0] != app}
            await self._forget_before(app, {period, previous})
        self._totals[app, period] = (monotonic(), total)
        return total

    async def _forget_before(self, app: str, kept: Collection[str]) -> None:
        start = counter_name(app, "", "").removesuffix(":")
        names = {name for row in await self._on_all("HKEYS") for name in row if name is not None}
        old = [name for name in names if name.startswith(start) and name.split(":")[2] not in kept]
        if old:
            await self._on_all("HDEL", *old)

    async def _on_all(self, command: str, *names: str) -> list[list[str | None]]:
        keys = self._store.keys
        stats = (keys.of_partition("stats", number) for number in range(keys.partitions))
        return list(await asyncio.gather(*(self._store.command(command, key, *names) for key in stats)))
