"""What is asked of every server that holds a part of the store: the one, or each master of a cluster.

Their answers together are told as one server's: as well as the worst of them is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.store.cluster import Cluster
from orchestrator.store.store import RETRY_PAUSE_SECONDS, Store
from orchestrator.store.wire import Argument, Reply

#: What INFO says in these lines is the whole store's only as their sum.
_SUMMED: Final = ("connected_clients",)
#: The first that is not well is told.
_STATES: Final = {"role": "master", "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok"}


async def ask_each(store: Store, *args: Argument) -> list[Reply]:
    """Return every server's reply to a command that may be repeated safely; raise StoreUnreachable where one says nothing."""
    if not isinstance(store.wire, Cluster):
        return [await store.command(*args)]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + store.patience_seconds
    while True:
        try:
            return await store.wire.on_each(*args)
        except StoreUnreachable:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(RETRY_PAUSE_SECONDS)


def merge_infos(infos: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return servers' INFO as one: memory of the fullest, uptime of the youngest, states of whoever is not well.

    >>> full, young = {"used_memory": "9", "maxmemory": "10"}, {"used_memory": "20", "maxmemory": "90", "role": "slave"}
    >>> merged = merge_infos([full, young])
    >>> merged["used_memory"], merged["maxmemory"], merged["role"]
    ('9', '10', 'slave')
    """
    fullest = max(infos, key=_fullness)
    merged = dict(fullest)
    if len(infos) == 1:
        return merged
    for name in _SUMMED:
        merged[name] = str(sum(_number(info, name) for info in infos))
    for name, well in _STATES.items():
        states = [info[name] for info in infos if name in info]
        if states:
            merged[name] = next((state for state in states if state != well), well)
    for name in ("aof_enabled", "uptime_in_seconds"):
        merged[name] = str(min(_number(info, name) for info in infos))
    return merged


def _fullness(info: Mapping[str, str]) -> tuple[float, int]:
    """Order servers by the share of their memory that is used, those without a limit by how much it is."""
    used, limit = _number(info, "used_memory"), _number(info, "maxmemory")
    return used / limit if limit else 0.0, used


def _number(info: Mapping[str, str], name: str) -> int:
    text = info.get(name, "")
    return int(text) if text.isdigit() else 0
