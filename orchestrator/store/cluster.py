"""A Redis Cluster as the store: one Wire a master, and each command to the master that has its key's slot.

Nothing here knows what a command means. Every act touches one slot (keys.py), so no command is ever split, and none spans
servers: whoever wants all partitions asks each. What this module adds to a Wire is where a command goes:

    the map       which master has which slot, asked of the masters themselves: at first, after an error that says that it
                  has changed, and every few seconds of use - a master that hangs says nothing. The view of the latest
                  epoch is believed.
    MOVED, ASK    are followed at once, at most some hops.
    all the rest  (a master that is gone, CLUSTERDOWN, TRYAGAIN) goes back to the caller as with a single server, while the
                  map is asked for anew: `Store` repeats for `patience_seconds`, which is what a failover has to take less than.

A connection to a server that is no master any more is ended, so that nobody waits for an answer from it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.contracts.errors import ConfigError, StoreUnreachable, StoreUntrusted
from orchestrator.store.address import scheme_of
from orchestrator.store.cluster_map import (
    SLOTS,
    Node,
    View,
    is_cluster,
    key_of,
    parse_cluster,
    read_redirection,
    read_view,
    slot_of,
)
from orchestrator.store.keys import META
from orchestrator.store.tls import check_files
from orchestrator.store.wire import Argument, Head, Reply, ServerRefused, Wire

log = logging.getLogger(__name__)

#: How old the map may get while it is used, and how long a server may take to tell its own.
LOOK_SECONDS: Final = 3.0
ASK_SECONDS: Final = 1.5
#: How often one command is sent on: twice is usual while a slot moves.
HOPS: Final = 5

#: Done on every server: scripts, which each has for itself; and emptying them all, which only tests do.
_EVERYWHERE: Final = frozenset({"SCRIPT", "FLUSHALL"})
#: What concerns no slot is asked where the store's own facts are, so that one clock tells the time of what spans partitions.
_SEAT: Final = slot_of(META)


class NodeWire(Wire):
    """The connection to one server of a cluster."""

    def __init__(self, node: Node, url: str, on_connect: Callable[[Wire], Awaitable[None]]) -> None:
        super().__init__(url, on_connect=on_connect)
        self.node = node
        self._is_dropped = False

    async def command_asking(self, args: tuple[Argument, ...], head: Head | None) -> Reply:
        """Send a command to the server that is just taking over its slot: right behind the word that lets it answer."""
        if not self._greeted or self._protocol is None or self._protocol.closed:
            await self._open()
        asking, reply = self._send(("ASKING",)), self._send(args, head)
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # the reply behind it says it all
        return await reply

    async def _open(self) -> None:
        if self._is_dropped:
            raise StoreUnreachable(f"store: {self.node} has no part of the store any more; try again")
        await super()._open()

    def drop(self) -> None:
        """End the connection for good; what is under way fails, and may have happened."""
        self._is_dropped = True
        self._abort()
        if self._watch is not None:
            self._watch.cancel()


class Cluster:
    """All connections to a cluster, for one event loop; used like a Wire."""

    def __init__(self, url: str, *, on_connect: Callable[[Wire], Awaitable[None]] | None = None) -> None:
        self._url = parse_cluster(url)
        self.tls = self._url.tls
        self._on_connect = on_connect
        #: How often any connection was opened: what was read before may not be what a server knows now.
        self.opened = 0
        self._wires: dict[Node, NodeWire] = {}
        self._owners: list[NodeWire | None] = []  # by slot; empty while nothing is known
        self._replicas: frozenset[Node] = frozenset()
        self._answered: NodeWire | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = 0.0
        self._listener: Wire | None = None

    @property
    def run_id(self) -> str:
        """Which run of which server answered last: `HOST:PORT RUN`. Ask before anything else is awaited."""
        return "" if self._answered is None else f"{self._answered.node} {self._answered.run_id}"

    async def command(self, *args: Argument, head: Head | None = None) -> Reply:
        """Send a command to the master that has its key; raise ServerRefused or StoreUnreachable."""
        if head is not None:
            return await self._routed(slot_of(head.key), args, head)
        if str(args[0]).upper() in _EVERYWHERE:
            return await self._everywhere(args)
        key = key_of(args)
        return await self._routed(_SEAT if key is None else slot_of(key), args, None)

    async def on_each(self, *args: Argument) -> list[Reply]:
        """Send a command to each master; return their replies, always in the same order of masters."""
        await self._look_at_first()
        try:
            return list(await asyncio.gather(*(wire.command(*args) for wire in self._masters())))
        except StoreUnreachable:
            self._look_soon()
            raise

    async def _everywhere(self, args: tuple[Argument, ...]) -> Reply:
        await self._look_at_first()
        done = await asyncio.gather(*(one.command(*args) for one in self._wires.values()), return_exceptions=True)
        failed = [one for one in done if isinstance(one, BaseException)]
        if len(failed) == len(done):
            raise failed[0]
        return next(one for one in done if not isinstance(one, BaseException))

    async def _routed(self, slot: int, args: tuple[Argument, ...], head: Head | None) -> Reply:
        if not self._owners:
            await self._look_at_first()
        elif asyncio.get_running_loop().time() - self._looked_at > LOOK_SECONDS:
            self._look_soon()
        wire = self._owners[slot]
        if wire is None:
            self._look_soon()
            raise StoreUnreachable(f"store: no server of the cluster has slot {slot}; see CLUSTER INFO of any of them")
        try:
            reply = await wire.command(*args, head=head)
        except StoreUnreachable:
            self._look_soon()
            raise
        except ServerRefused as error:
            return await self._follow(error, wire, slot, args, head)
        self._answered = wire
        return reply

    async def _follow(
        self, error: ServerRefused, wire: NodeWire, slot: int, args: tuple[Argument, ...], head: Head | None
    ) -> Reply:
        """Send a command on to where the cluster says that its slot is."""
        for _ in range(HOPS):
            if error.code in {"CLUSTERDOWN", "TRYAGAIN", "MOVED", "READONLY", "LOADING", "MASTERDOWN"}:
                self._look_soon()
            if error.code not in {"MOVED", "ASK"}:
                raise error
            wire = self._wire(read_redirection(error.text, wire.node))
            if error.code == "MOVED":
                self._owners[slot] = wire
            try:
                asking = error.code == "ASK"
                reply = await (wire.command_asking(args, head) if asking else wire.command(*args, head=head))
            except ServerRefused as again:
                error = again
                continue
            self._answered = wire
            return reply
        raise StoreUnreachable(f"store: slot {slot} moves faster than it can be followed ({error}); try again")

    # --- the map

    def has_slot(self, node: str, slot: int) -> bool:
        """Say whether this server (`HOST:PORT`) has a slot, as far as is known."""
        wire = self._owners[slot] if self._owners else None
        return wire is not None and str(wire.node) == node

    def _masters(self) -> list[NodeWire]:
        return sorted({wire for wire in self._owners if wire is not None}, key=lambda wire: wire.node)

    def _wire(self, node: Node) -> NodeWire:
        wire = self._wires.get(node)
        if wire is None:
            wire = self._wires[node] = NodeWire(node, self._url.of_node(node), self._connected)
        return wire

    async def _connected(self, wire: Wire) -> None:
        if self._on_connect is not None:
            await self._on_connect(wire)
        self.opened += 1

    async def _look_at_first(self) -> None:
        while not self._owners:
            await asyncio.shield(self._look_soon())

    def _look_soon(self) -> "asyncio.Task[None]":
        """Ask for the map, once for all who need it at the same time."""
        if self._looking is None:
            self._looked_at = asyncio.get_running_loop().time()
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        return self._looking

    def _looked(self, task: "asyncio.Task[None]") -> None:
        self._looking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("the map of the cluster stays as it is: %s", error)

    async def _look(self) -> None:
        masters = {wire.node for wire in self._masters()}
        views, problems = await self._ask_all(masters or set(self._url.nodes))
        if not views:
            views, more = await self._ask_all(({*self._url.nodes} | self._replicas) - masters)
            problems += more
        if not views:
            says = "; ".join(dict.fromkeys(str(one).removeprefix("store: ") for one in problems))
            is_foreign = bool(problems) and all(isinstance(one, StoreUntrusted) for one in problems)
            raise (StoreUntrusted if is_foreign else StoreUnreachable)(
                f"store: no server of the cluster answers: {says}"
            )
        self._install(max(views, key=lambda view: view.rank))

    async def _ask_all(self, nodes: set[Node]) -> tuple[list[View], list[StoreUnreachable]]:
        """Return what these servers say, and why others do not; raise what they refuse with where none says anything else."""
        answers = await asyncio.gather(*(self._ask(node) for node in sorted(nodes)))
        views = [one for one in answers if isinstance(one, View)]
        refusals = [one for one in answers if isinstance(one, ServerRefused)]
        if refusals and not views:
            raise refusals[0]
        return views, [one for one in answers if isinstance(one, StoreUnreachable)]

    async def _ask(self, node: Node) -> View | ServerRefused | StoreUnreachable:
        wire = self._wire(node)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                info, slots = await asyncio.gather(wire.command("CLUSTER", "INFO"), wire.command("CLUSTER", "SLOTS"))
        except StoreUnreachable as error:
            log.debug("%s does not say what it knows of the cluster: %s", node, error)
            return error
        except TimeoutError:
            return StoreUnreachable(f"store: {node} did not say in time what it knows of the cluster; is it running?")
        except ServerRefused as error:
            if error.code == "ERR":  # the one thing that CLUSTER INFO is refused for without a word of its own
                message = f"store URL: {node} is no server of a cluster; write redis://{node}/0"
                raise ConfigError(message) from error
            return error
        return read_view(str(info), slots, node)

    def _install(self, view: View) -> None:
        owners: list[NodeWire | None] = [None] * SLOTS
        for first, last, master, _ in view.ranges:
            owners[first : last + 1] = [self._wire(master)] * (last - first + 1)
        before, self._owners = self._masters(), owners
        self._replicas = frozenset(node for _, _, _, replicas in view.ranges for node in replicas)
        masters = self._masters()
        if before and masters != before:
            log.warning("store: the cluster's masters are now %s", ", ".join(str(wire.node) for wire in masters))
        for node in [node for node, wire in self._wires.items() if wire not in masters]:
            self._wires.pop(node).drop()

    # --- listening

    async def subscribe(self, channel: str, on_message: Callable[[str], None]) -> None:
        """Turn this into a listener: what is published on any server of a cluster is heard on each."""
        await self._look_at_first()
        problem: StoreUnreachable | None = None
        for wire in self._masters():
            listener = Wire(self._url.of_node(wire.node))
            try:
                await listener.subscribe(channel, on_message)
            except StoreUnreachable as error:
                problem = error
                continue
            self._listener = listener
            return
        raise problem or StoreUnreachable("store: the cluster has no master; see CLUSTER INFO of any of its servers")

    async def wait_lost(self) -> None:
        """Return once the listener's connection is lost, at once where there is none."""
        if self._listener is not None:
            await self._listener.wait_lost()

    async def aclose(self) -> None:
        """Close all connections; a later command would open them again."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        wires = [*self._wires.values(), *([self._listener] if self._listener is not None else [])]
        self._wires, self._owners, self._listener, self._answered = {}, [], None, None
        await asyncio.gather(*(wire.aclose() for wire in wires))


def open_wire(url: str, *, on_connect: Callable[[Wire], Awaitable[None]] | None = None) -> Wire | Cluster:
    """Return what carries commands to the store at a URL; it connects when it is first used. Raise ConfigError.

    Files of TLS are refused here alone. Where one is gone later, when a connection is made anew, it is waited for (tls.py).
    """
    wire = Cluster(url, on_connect=on_connect) if is_cluster(url) else Wire(url, on_connect=on_connect)
    if wire.tls is not None:
        check_files(wire.tls, where=f"store URL {scheme_of(url)}://…")
    return wire
