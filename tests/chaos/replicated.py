"""Stores in which a replica takes over: a pair under three Sentinels, and a Redis Cluster of three masters with one replica each.

    failover   SIGKILL a master, wait until it is taken over, start it again, wait until it follows
    hang       SIGSTOP a master until it is taken over, SIGCONT: for a while it believes that it is still the one, and answers
               whoever is still connected to it; nothing of that is kept
    split      isolate a master from its replica and from all who watch it, until it is taken over: it answers the processes all the
               while, and nothing of that is kept

All may take what the replica had not got; offsets.py says how far that goes back, and the Cut says it to the checkers.
Nobody is cut off and nobody stops meanwhile: neither those outside nor the faults of processes and their networks (doors.py).
"""

from abc import abstractmethod
from collections import Counter
from pathlib import Path

from orchestrator.embedded import Fsync
from orchestrator.store.cluster_map import SLOTS
from tests.chaos.cluster import ClusterOfServers
from tests.chaos.cuts import Cut
from tests.chaos.doors import Doors
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms
from tests.chaos.offsets import Offsets, Takeover, read_replication, read_takeover
from tests.chaos.plan import API, OUTSIDE, SCHEDULERS, SHARDS, WORKERS, Fault, StoreKind, shard_of
from tests.chaos.proxy import Line, Proxy
from tests.chaos.sentinel import Pair
from tests.chaos.stores import Hands, StoreUnderChaos

#: How long a primary may be silent: longer than on a site, for a machine that is busy with something else.
DOWN_AFTER_MS = 4_000
#: They keep a file of their acts, as the bundled server does.
WORDS = ("--appendonly", "yes", "--save", "", "--appendfsync")
#: As whom the run itself comes in.
CONTROL = "control"


def make_users() -> list[str]:
    """Return the words by which a server knows everybody: a name says whose network it is, and protects nothing."""
    users = (*WORKERS, *SCHEDULERS, API, OUTSIDE, CONTROL)
    return [word for user in users for word in ("--user", user, "on", "nopass", "~*", "&*", "+@all")]


class ReplicatedStore(StoreUnderChaos):
    """Masters with replicas; `servers` are their processes."""

    is_replicated = True
    #: Longer than a failover takes, and a new replica's first copy, on a machine that is busy with something else.
    patience_seconds = 60.0
    end_seconds = 150.0
    servers: Pair | ClusterOfServers

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        super().__init__(folder, fsync=fsync)
        self.doors = Doors()
        self.doors.lines[CONTROL] = Line()
        self._offsets = Offsets()
        #: Who is believed to have which part, and since when (monotonic ms) that is known.
        self._masters: dict[str, int] = {}
        self._known = 0.0

    async def url_over(self, slot: str, proxy: Proxy) -> str:
        """Return the store's own URL, with a user by which every place that a server tells knows whose network it is."""
        self.doors.lines[slot] = proxy
        return await self._url_as(slot, proxy)

    @abstractmethod
    async def _url_as(self, slot: str, proxy: Proxy) -> str:
        """Return the URL that names Sentinels or servers of a cluster."""

    async def start(self) -> None:
        """Return once every replica follows."""
        await self.servers.begin()
        self._offsets.watch(self.servers.ports)
        self._known = now_ms()
        self._masters = {shard: await self._master(shard) for shard in self._shards}

    async def settle(self, hands: Hands) -> None:
        """Note each takeover that nobody planned: on a machine that is too busy, a master is silent for seconds by itself.

        Nothing bounds what it may have taken but the last look at who is master. Return once every replica follows a master that is
        noted: whoever took over before it did would be without all that its own one had done.
        """
        is_still = False
        while not is_still:
            await self.servers.until_well()
            is_still = not await self._note_takeovers(hands)

    async def _note_takeovers(self, hands: Hands) -> bool:
        """Say whether there was one since the last look."""
        before, self._known = self._known, now_ms()
        masters = {shard: await self._master(shard) for shard in self._masters}
        changed = [shard for shard, master in masters.items() if master != self._masters[shard]]
        for shard in changed:
            self._masters[shard], at = masters[shard], now_ms()
            cut = Cut(at, 0, at - before, "takeover by itself", shard, self._slots(shard), before)
            await self._find_losses(cut, hands)
        return bool(changed)

    @property
    @abstractmethod
    def _shards(self) -> tuple[str, ...]:
        """Return the parts of the store that have a master each."""

    @abstractmethod
    async def _master(self, shard: str) -> int:
        """Return the port of who has this part of the store now."""

    @abstractmethod
    def _slots(self, shard: str) -> tuple[int, int]:
        """Return which slots of a cluster that part is."""

    async def strike(self, fault: Fault, hands: Hands) -> bool:
        """Let the part of the store that is drawn change its master; then those outside look for what is lost."""
        await self.settle(hands)
        master = self._masters[fault.slot]
        hands.driver.cuts += 1
        hands.driver.is_doubtful = True  # what is read from now on may be what a server says that nobody follows
        cut = await (self._fail_over if fault.what == "failover" else self._part)(fault, master)
        await self._find_losses(cut, hands)
        hands.driver.is_doubtful = False
        return True

    async def _find_losses(self, cut: Cut, hands: Hands) -> None:
        """Let those outside look for what is gone; nobody asks meanwhile."""
        self.cuts.append(cut)
        hands.driver.cuts += 1
        hands.driver.gate.clear()
        await hands.driver.find_losses(cut.since, lambda sid: cut.touches(sid, hands.control.store.keys))
        hands.driver.gate.set()

    async def _fail_over(self, fault: Fault, master: int) -> Cut:
        await self._before_a_death(master)
        await self.servers.kill(master)
        at = now_ms()
        taken = await self._take_over(fault, master)
        await pause(fault.lasts)
        self.servers.start_again(master)
        await self.servers.until_follows(master)
        since, lost = self._offsets.bound(master, taken)
        return Cut(at, lost, at - since, fault.what, fault.slot, self._slots(fault.slot))

    async def _part(self, fault: Fault, master: int) -> Cut:
        """Let a master stand still, or be alone with the processes, until another one is in its place; then let it find out."""
        split_at = now_ms()
        if fault.what == "hang":
            self.servers.halt(master)
        else:
            await self.servers.isolate(master)
        taken = await self._take_over(fault, master)
        await pause(fault.lasts)
        if fault.what == "hang":
            self.servers.resume(master)
        else:
            self.servers.rejoin(master)
        # Until it says itself that it is a replica, somebody may have been answered by it.
        await self.servers.until_replica(master)
        at = now_ms()
        self.servers.isolated.discard(master)
        await self.servers.until_follows(master)
        since, lost = self._offsets.bound(master, taken)
        return Cut(at, lost, at - since, fault.what, fault.slot, self._slots(fault.slot), split_at)

    async def _take_over(self, fault: Fault, master: int) -> Takeover:
        """Wait until another one has that part, and return what it went on from; whoever comes after that one was not planned."""
        await self.servers.until_taken_over(master)
        self._masters[fault.slot] = await self._master(fault.slot)
        return read_takeover(await read_replication(self._masters[fault.slot]))

    async def _before_a_death(self, port: int) -> None:
        """Note what a server knows that it takes with it."""

    def logs(self) -> str:
        """Return the end of what the servers and the Sentinels wrote."""
        return self.servers.logs()

    async def aclose(self) -> None:
        """End everything."""
        await self._offsets.aclose()
        await self.doors.aclose()
        self.servers.close()
        await super().aclose()


class SentinelStore(ReplicatedStore):
    """A primary, its replica and three Sentinels, who are asked by each process itself."""

    kind: StoreKind = "sentinel"

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        super().__init__(folder, fsync=fsync)
        (folder / "pair").mkdir()
        words = (*WORDS, fsync, *make_users())
        self.servers: Pair = Pair(folder / "pair", words=words, down_after_ms=DOWN_AFTER_MS, doors=self.doors)

    @property
    def url(self) -> str:
        """Return what the run itself uses, whom no fault strikes."""
        return self.servers.url_as(CONTROL, self.servers.sentinels)

    async def _url_as(self, slot: str, proxy: Proxy) -> str:
        # Whoever asks a Sentinel does not say who it is: each process has its own ways to them.
        return self.servers.url_as(slot, [await self.doors.add_own(proxy, port) for port in self.servers.sentinels])

    @property
    def _shards(self) -> tuple[str, ...]:
        return (shard_of(0),)

    async def _master(self, shard: str) -> int:
        del shard  # there is one
        return self.servers.primary

    def _slots(self, shard: str) -> tuple[int, int]:
        del shard
        return 0, SLOTS - 1


class ClusterStore(ReplicatedStore):
    """Three masters with a replica each; each part of the slots stays together, whoever has it."""

    kind: StoreKind = "cluster"

    def __init__(self, folder: Path, *, fsync: Fsync) -> None:
        super().__init__(folder, fsync=fsync)
        (folder / "cluster").mkdir()
        words = (*WORDS, fsync, *make_users())
        self.servers: ClusterOfServers = ClusterOfServers(
            folder / "cluster", SHARDS, replicas=1, words=words, doors=self.doors
        )
        self._refused: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Return what the run itself uses, whom no fault strikes."""
        return self.servers.url_as(CONTROL)

    async def _url_as(self, slot: str, proxy: Proxy) -> str:
        del proxy  # every door knows it by its user
        return self.servers.url_as(slot)

    @property
    def _shards(self) -> tuple[str, ...]:
        return tuple(map(shard_of, range(SHARDS)))

    async def _master(self, shard: str) -> int:
        return await self.servers.owner(self._slots(shard)[0])

    def _slots(self, shard: str) -> tuple[int, int]:
        return self.servers.share(self._shards.index(shard))

    async def _before_a_death(self, port: int) -> None:
        self._refused.update(await self.servers.errors(port))  # its own count dies with it

    async def refused(self) -> dict[str, int]:
        """Return what all servers refused over the whole run."""
        return dict(self._refused + Counter(await self.servers.errors()))
