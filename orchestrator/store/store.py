"""Acts and commands with their retries: what every other module of the store stands on.

Every act can be repeated: it recognises itself (fence and revision, post id, submission digest,
holder text) or does nothing the second time. So a connection lost in the middle of one is
answered by doing it again, until `patience_seconds` are over, or the patience of a process that ends. So is a critical act that cannot be confirmed: with
`durability` given, such an act is answered only once it is safe (durability.py).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.contracts.errors import StoreUnreachable, StoreUntrusted
from orchestrator.contracts.formats import FORMAT
from orchestrator.store.cluster import open_wire
from orchestrator.store.cluster_durability import ClusterConfirmer, open_confirmer
from orchestrator.store.durability import Confirmer, Durability
from orchestrator.store.keys import Keys
from orchestrator.store.scripts import load_scripts
from orchestrator.store.wire import NOT_YET, Argument, Head, Reply, ServerRefused, Wire, pack_head

RETRY_PAUSE_SECONDS = 0.1
LEAST_HEADS = 4_096

#: What the act answers that finds itself done already. After a repetition, the first answer was the true one.
_AGAIN = {"submit": "existing", "fork": "existing", "post": "duplicate"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that the store takes; see config/runtime.yaml for the reasons."""

    state_bytes: int = 262_144
    message_bytes: int = 1_048_576
    entry_bytes: int = 2_097_152
    text_bytes: int = 65_536
    mailbox_posts: int = 256
    journal_entries: int = 200_000
    context_messages: int = 20_000
    stream_pieces: int = 2_000
    stream_seconds: int = 3_600


class Store:
    """One store, for one event loop.

    `heads` is how many beginnings of acts are kept packed: those of every session that is held, or none is found again.
    `session_format` is what this process reads and writes (contracts/formats.py).
    """

    def __init__(
        self,
        url: str,
        *,
        partitions: int = 64,
        limits: Limits | None = None,
        patience_seconds: float = 20.0,
        durability: Durability | None = None,
        heads: int = LEAST_HEADS,
        session_format: int = FORMAT,
    ) -> None:
        self.format = session_format
        self.keys = Keys(partitions)
        self.limits = limits or Limits()
        self.url = url
        self.durability = durability
        self.wire = open_wire(url, on_connect=_load_scripts if durability is None else _load_scripts_and_identify)
        self._confirmer = (
            None if durability is None else open_confirmer(self.wire, url, durability, _identify, self.keys)
        )
        self.patience_seconds = patience_seconds
        self._ends_at = math.inf
        self._scripts = load_scripts()
        # A slice does the same act on the same session at every step; half of its words are always the same.
        self._head = lru_cache(maxsize=heads)(self._pack_head)

    async def act(self, name: str, session_id: str, *args: Argument, critical: bool = False) -> list[Reply]:
        """Do one act on one session; repeat it over lost connections.

        A critical one is what somebody outside will rely on: with `durability`, it is answered once it is safe. Raise
        StoreUnreachable where that is not so in time; the act may have happened.
        """
        head = self._head(name, session_id)
        try:
            reply: list[Reply] = await self.wire.command(*args, head=head)
        except (StoreUnreachable, ServerRefused) as error:
            reply = await self._repeat_after(error, args, self._scripts[name].source, head)
        if critical and self._confirmer is not None:
            what = f"{name} of session {session_id}"
            async for again in self._until_safe(self._confirmer, what, lambda: self.act(name, session_id, *args)):
                if str(again[0]) != _AGAIN.get(name):
                    reply = again
        return reply

    async def _until_safe(
        self, confirmer: Confirmer | ClusterConfirmer, what: str, redo: Callable[[], Awaitable[Reply]]
    ) -> AsyncIterator[Reply]:
        """Return once what was just done is safe; until then do it again, and yield what each time is answered."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience_seconds
        # Whoever did not do the act may not have kept it: what another run of the server knows is found out by doing it again.
        while not await confirmer.confirm(self.wire.run_id):
            if loop.time() >= min(deadline, self._ends_at):
                raise StoreUnreachable(
                    f"store: {what} was done and not confirmed within {self.patience_seconds:g} s; "
                    "look at the server's disk and replicas, then try again"
                )
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
            yield await redo()

    def _pack_head(self, name: str, session_id: str) -> Head:
        script = self._scripts[name]
        keys = self.keys.for_script(script.keys, session_id)
        return pack_head("EVALSHA", script.sha, len(keys), *keys, session_id, key=keys[0])

    async def act_on_partition(self, name: str, partition: int, *args: Argument) -> list[Reply]:
        """Do one act on what the sessions of a partition share."""
        script = self._scripts[name]
        keys = [self.keys.of_partition(key, partition) for key in script.keys]
        reply: list[Reply] = await self._repeat(("EVALSHA", script.sha, len(keys), *keys, *args), script.source)
        return reply

    async def act_on_key(self, name: str, key: str, *args: Argument, critical: bool = False) -> list[Reply]:
        """Do one act on one key that belongs to no session; on a critical one a critical act will rest (`command_beside`)."""
        script = self._scripts[name]
        reply: list[Reply] = await self._repeat(("EVALSHA", script.sha, 1, key, *args), script.source)
        if critical and self._confirmer is not None:
            async for again in self._until_safe(self._confirmer, name, lambda: self.act_on_key(name, key, *args)):
                reply = again
        return reply

    async def command(self, *args: Argument) -> Reply:
        """Send a command that may be repeated safely."""
        return await self._repeat(args, None)

    async def command_beside(self, *args: Argument) -> Reply:
        """Send a command that somebody will rely on, or a critical act that follows; return once it is as safe as such an act.

        The act's own confirmation is not enough: the act may go to another server, of a cluster or after a failover in between.
        """
        reply = await self._repeat(args, None)
        if self._confirmer is not None:
            async for again in self._until_safe(self._confirmer, str(args[0]), lambda: self.command(*args)):
                reply = again
        return reply

    async def _repeat(self, args: tuple[Argument, ...], source: str | None) -> Reply:
        try:
            return await self.wire.command(*args)
        except (StoreUnreachable, ServerRefused) as error:
            first = error
        return await self._repeat_after(first, args, source, None)

    async def _repeat_after(
        self,
        error: StoreUnreachable | ServerRefused,
        args: tuple[Argument, ...],
        source: str | None,
        head: Head | None,
    ) -> Reply:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience_seconds
        while True:
            is_script_missing = isinstance(error, ServerRefused) and error.code == "NOSCRIPT" and source is not None
            if isinstance(error, ServerRefused) and not is_script_missing and error.code not in NOT_YET:
                raise error
            # Whom nobody could ever trust is not waited for; certificates that change under way are.
            is_foreign = isinstance(error, StoreUntrusted) and not self.wire.opened
            if is_foreign or loop.time() >= min(deadline, self._ends_at):
                raise error if isinstance(error, StoreUnreachable) else StoreUnreachable(str(error))
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
            try:
                if is_script_missing:
                    await self.wire.command("SCRIPT", "LOAD", str(source))
                return await self.wire.command(*args, head=head)
            except (StoreUnreachable, ServerRefused) as again:
                error = again

    def end_patience(self, seconds: float) -> None:
        """Let nobody wait for a server that is away for longer than so many seconds from now, whoever waits already too.

        For a process that is told to end: what it cannot say by then, others find out by themselves. Each command is
        still tried once.
        """
        self._ends_at = min(self._ends_at, asyncio.get_running_loop().time() + seconds)

    async def now_ms(self) -> int:
        """Return the server's time."""
        seconds, micros = await self.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def aclose(self) -> None:
        """Close the connections."""
        if self._confirmer is not None:
            await self._confirmer.aclose()
        await self.wire.aclose()


async def _load_scripts(wire: Wire) -> None:
    await asyncio.gather(*(wire.during_open("SCRIPT", "LOAD", script.source) for script in load_scripts().values()))


async def _identify(wire: Wire) -> None:
    """Note which run of which server a connection leads to."""
    info = str(await wire.during_open("INFO", "server"))
    wire.run_id = next((line[7:].strip() for line in info.splitlines() if line.startswith("run_id:")), "")


async def _load_scripts_and_identify(wire: Wire) -> None:
    await asyncio.gather(_load_scripts(wire), _identify(wire))
