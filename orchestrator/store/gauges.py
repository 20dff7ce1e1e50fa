"""What the store holds now, in figures: one act a partition, summed. Nothing here reads a single session."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.contracts.phases import PHASES
from orchestrator.store.codec import pairs
from orchestrator.store.fitness import parse_info
from orchestrator.store.keys import ARCHIVED_AT, META
from orchestrator.store.servers import ask_each, merge_infos
from orchestrator.store.store import Store
from orchestrator.store.wire import Reply

#: The order in which scripts/measure.lua tells them.
LINES = ("steps", "plugins", "finalize")
ASKS = ("approval", "input", "uncertain")


@dataclass(slots=True)
class AppGauges:
    """One app: sessions by phase; ms since when the first in each line stands there; who asks a person, and since when (0: nobody)."""

    phases: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PHASES, 0))
    first_in_line: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LINES, 0))
    asks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ASKS, 0))
    first_asks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ASKS, 0))


@dataclass(slots=True)
class Gauges:
    """The store at `now` (its own ms). A time of 0 means: nobody."""

    now: int = 0
    leases: int = 0
    expired: int = 0
    overdue: int = 0
    first_overdue: int = 0
    sent: int = 0
    dead: int = 0
    first_dead: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    apps: dict[str, AppGauges] = field(default_factory=dict)

    def seconds_since(self, at: int) -> float:
        """Return the age of a time, 0 for nobody's."""
        return max(self.now - at, 0) / 1000 if at else 0.0


async def measure(store: Store, apps: Sequence[str]) -> Gauges:
    """Return the whole store's figures."""
    partitions = range(store.keys.partitions)
    replies = await asyncio.gather(*(store.act_on_partition("measure", number, *apps) for number in partitions))
    total = Gauges(apps={app: AppGauges() for app in apps})
    for reply in replies:
        _add(total, reply, apps)
    return total


async def server_info(store: Store) -> dict[str, str]:
    """Return what the server says of itself, or the masters of a cluster together (`merge_infos`)."""
    return merge_infos([parse_info(str(text)) for text in await ask_each(store, "INFO")])


async def archived_at(store: Store) -> int:
    """Return when ended sessions were last looked through for the archive (store/pruning.py), 0 where never."""
    return int(await store.command("HGET", META, ARCHIVED_AT) or 0)


def _add(total: Gauges, reply: list[Reply], apps: Sequence[str]) -> None:
    now, leases, expired, overdue, first_overdue, sent, dead, first_dead, counters, *rows = reply
    total.now = max(total.now, int(now))
    total.leases += int(leases)
    total.expired += int(expired)
    total.overdue += int(overdue)
    total.sent += int(sent)
    total.dead += int(dead)
    total.first_overdue = _first(total.first_overdue, int(first_overdue))
    total.first_dead = _first(total.first_dead, int(first_dead))
    for name, value in pairs(counters).items():
        total.counters[name] = total.counters.get(name, 0) + int(value)
    for app, row in zip(apps, rows, strict=True):
        one, numbers = total.apps[app], [int(number) for number in row]
        for phase, number in zip(PHASES, numbers[:6], strict=True):
            one.phases[phase] += number
        for line, at in zip(LINES, numbers[6:9], strict=True):
            one.first_in_line[line] = _first(one.first_in_line[line], at)
        for kind, number, at in zip(ASKS, numbers[9::2], numbers[10::2], strict=True):
            one.asks[kind] += number
            one.first_asks[kind] = _first(one.first_asks[kind], at)


def _first(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other
