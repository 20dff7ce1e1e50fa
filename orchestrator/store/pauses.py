"""What operators have paused: queues and apps of which nothing new is woken."""

from orchestrator.contracts.base import Shared
from orchestrator.store.codec import pairs
from orchestrator.store.keys import PAUSED
from orchestrator.store.store import Store


class Pause(Shared):
    """One pause: `target` is `queue:NAME` or `app:NAME`; `at` is the store's ms."""

    target: str
    at: int = 0
    actor: str = ""
    reason: str = ""


class Pauses:
    """The pauses of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, target: str, *, actor: str, reason: str = "") -> bool:
        """Pause a target; return False where it was paused already."""
        pause = Pause(target=target, at=await self._store.now_ms(), actor=actor, reason=reason).to_json()
        await self._store.command_beside("HSETNX", PAUSED, target, pause)
        # Where an answer was lost, or what was not safe was done again, it is our own that is there.
        return bool(await self._store.command("HGET", PAUSED, target) == pause)

    async def remove(self, target: str) -> bool:
        """Let a target go on; return False where it was not paused."""
        is_paused = await self._store.command("HEXISTS", PAUSED, target)
        await self._store.command_beside("HDEL", PAUSED, target)
        return bool(is_paused)

    async def every(self) -> list[Pause]:
        """Return all pauses."""
        found = pairs(await self._store.command("HGETALL", PAUSED))
        return [Pause.from_json(body) for _, body in sorted(found.items())]

    async def targets(self) -> frozenset[str]:
        """Return what is paused."""
        return frozenset(await self._store.command("HKEYS", PAUSED))
