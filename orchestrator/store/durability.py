"""Wait until what was written outlives the server: WAITAOF and WAIT, for those who need to know.

A server acknowledges what it has in memory; the disk follows within a second (`appendfsync everysec`), and
replicas when they can. What was acknowledged in between is lost with the server. `Confirmer` answers later: once the
disk has it (WAITAOF), and as many replicas as were asked for (WAIT).

Both commands block their connection, so they go over connections of their own: behind a mark that is written there,
which stands behind everything that the server has done until then. All who ask within one wait share the next one.
A confirmation counts for one run of one server. Was the act done by another run - the server died in between, or
another one took its place - nothing is known of it, and the act must be done again: `Store.act` does that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.store.keys import DURABLE
from orchestrator.store.wire import NOT_YET, ServerRefused, Wire

#: Waits at once. With one, whoever asks just after an fsync began would wait for two of them.
CONNECTIONS = 4
#: How long one wait asks for; well below the time after which a connection counts as dead.
WAIT_MS = 3_000
#: What a server answers that cannot confirm now: it has stopped to be the one that did the act, or takes no mark at present.
_NOT_NOW = NOT_YET | {"UNBLOCKED", "MOVED", "ASK"}


@dataclass(frozen=True, slots=True)
class Durability:
    """What a critical act waits for: the server's disk, and how many replicas."""

    disk: bool = True
    replicas: int = 0


class Confirmer:
    """Confirms for one event loop. `run_id` names the run of the server that a connection leads to."""

    def __init__(self, url: str, wanted: Durability, identify: Callable[[Wire], Awaitable[None]]) -> None:
        self._wanted = wanted
        self._idle = [Wire(url, on_connect=identify) for _ in range(CONNECTIONS)]
        self._wires = tuple(self._idle)
        self._next: asyncio.Future[str] | None = None
        self._is_leaving = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def confirm(self, run_id: str) -> bool:
        """Return True once everything that this run of the server has done by now is safe; False if nobody can say.

        Raise ServerRefused where the server cannot wait: it has no AOF, or is too old.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._begin()
        return bool(run_id) and await asyncio.shield(self._next) == run_id

    def _begin(self) -> None:
        """Let an idle connection take those who are waiting."""
        if self._next is None or self._is_leaving or not self._idle:
            return
        self._is_leaving = True
        wire, asked = self._idle.pop(), self._next
        task = asyncio.create_task(self._serve(wire, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, wire: Wire, asked: "asyncio.Future[str]") -> None:
        await asyncio.sleep(0)  # those of the same tick of the loop come along
        self._next, self._is_leaving = None, False
        try:
            run_id = await self._ask(wire)
        except StoreUnreachable:
            run_id = ""
        except ServerRefused as error:
            # A replica waits for nobody, and says so with no word of its own: a master that was replaced in the middle.
            if error.code not in _NOT_NOW and not await _is_replica(wire):
                asked.set_exception(error)
                asked.exception()  # seen, should nobody wait any more
                return
            run_id = ""
        finally:
            self._idle.append(wire)
            self._begin()
        asked.set_result(run_id)

    async def _ask(self, wire: Wire) -> str:
        """Return the run that has it all, "" where it did not happen in time."""
        commands: list[tuple[str | int, ...]] = []
        if self._wanted.disk:
            commands.append(("WAITAOF", 1, 0, WAIT_MS))
        if self._wanted.replicas:
            commands.append(("WAIT", self._wanted.replicas, WAIT_MS))
        await self._mark(wire)
        opened = wire.opened
        for command in commands:
            reply = await wire.command(*command)
            if command[0] == "WAITAOF" and int(reply[0]) < 1:
                return ""
            if command[0] == "WAIT" and int(reply) < self._wanted.replicas:
                return ""
        # Over a connection that was lost and opened again meanwhile, a server waited that knows nothing of the mark.
        return wire.run_id if wire.opened == opened else ""

    async def _mark(self, wire: Wire) -> int:
        """Write the next mark, behind everything that was done until now, and return its number."""
        return int(await wire.command("INCR", DURABLE))

    async def aclose(self) -> None:
        """Close the connections."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self._wires:
            await wire.aclose()


async def _is_replica(wire: Wire) -> bool:
    """Say whether the server has become one; one that cannot be asked may have."""
    try:
        return "role:slave" in str(await wire.command("INFO", "replication")).splitlines()
    except (StoreUnreachable, ServerRefused):
        return True
