"""`durability: wait` on a cluster: each master confirms what it has done itself.

A mark counts only where it stands behind the act, so it is written on the very master that did it, under a key of a
partition that is there: while the slot of one is on its way, another one of that master takes the mark. One that has handed
its slots on, or is no master any more, confirms nothing: the act is done again where the slot is now, and finds itself or
is new there. How a wait is shared is durability.py's.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.store.cluster import Cluster
from orchestrator.store.cluster_map import parse_cluster, read_node, slot_of
from orchestrator.store.durability import Confirmer, Durability
from orchestrator.store.keys import Keys
from orchestrator.store.wire import ServerRefused, Wire

#: What a master answers where a key is not its own, or not any more, or only half.
_ELSEWHERE: Final = frozenset({"ASK", "MOVED", "TRYAGAIN"})


class _NodeConfirmer(Confirmer):
    """Confirms for one master; `mark_keys` says under which keys a mark may be written there now, at least one."""

    def __init__(
        self,
        url: str,
        wanted: Durability,
        identify: Callable[[Wire], Awaitable[None]],
        mark_keys: Callable[[], Sequence[str]],
    ) -> None:
        super().__init__(url, wanted, identify)
        self._mark_keys = mark_keys

    async def _mark(self, wire: Wire) -> int:
        *others, last = self._mark_keys()
        for key in others:
            try:
                return int(await wire.command("INCR", key))
            except ServerRefused as error:
                if error.code not in _ELSEWHERE:
                    raise
        return int(await wire.command("INCR", last))


class ClusterConfirmer:
    """Confirms for one event loop, by the master that did an act."""

    def __init__(
        self,
        cluster: Cluster,
        url: str,
        wanted: Durability,
        identify: Callable[[Wire], Awaitable[None]],
        keys: Keys,
    ) -> None:
        self._cluster = cluster
        self._url = parse_cluster(url)
        self._wanted = wanted
        self._identify = identify
        self._marks = [keys.of_partition("durable", number) for number in range(keys.partitions)]
        self._of: dict[str, _NodeConfirmer] = {}

    async def confirm(self, run_id: str) -> bool:
        """Return True once everything that this run (`Cluster.run_id`) has done by now is safe; False if nobody can say.

        Raise ServerRefused where the server cannot wait.
        """
        place, _, run = run_id.rpartition(" ")
        if not place:
            return False
        confirmer = self._of.get(place)
        if confirmer is None:
            url = self._url.of_node(read_node(place))
            confirmer = _NodeConfirmer(url, self._wanted, self._identify, lambda: self._marks_on(place))
            self._of[place] = confirmer
        return await confirmer.confirm(run)

    def _marks_on(self, place: str) -> list[str]:
        """Return a key of each partition that a master has, as far as is known; raise StoreUnreachable where it has none."""
        found = [mark for mark in self._marks if self._cluster.has_slot(place, slot_of(mark))]
        if not found:
            raise StoreUnreachable(f"store: {place} has no partition any more; what it did is not confirmed")
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        for confirmer in self._of.values():
            await confirmer.aclose()


def open_confirmer(
    wire: Wire | Cluster,
    url: str,
    wanted: Durability,
    identify: Callable[[Wire], Awaitable[None]],
    keys: Keys,
) -> Confirmer | ClusterConfirmer:
    """Return what confirms acts that go over `wire`."""
    if isinstance(wire, Cluster):
        return ClusterConfirmer(wire, url, wanted, identify, keys)
    return Confirmer(url, wanted, identify)
