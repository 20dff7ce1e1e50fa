"""What the store keeps for those who ask over the network: tokens as digests, rates, and the operators' log."""

from uuid import uuid4
from zlib import crc32

from pydantic import ValidationError

from orchestrator.contracts.access import Token
from orchestrator.contracts.base import JsonObject, Shared
from orchestrator.contracts.errors import StoreError
from orchestrator.store.codec import pairs
from orchestrator.store.keys import AUDIT, TOKENS
from orchestrator.store.store import Store

#: The operators' log is bounded; what has to be kept longer is shipped from the process's own log.
AUDIT_ENTRIES = 10_000


class Act(Shared):
    """One line of the operators' log: who did what to what. `at` is the store's ms."""

    number: str
    at: int
    actor: str
    act: str
    target: str
    data: JsonObject = {}


class Tokens:
    """Bearer tokens, by their digests."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, digest: str) -> Token | None:
        """Return the token of this digest, None where there is none."""
        body = await self._store.command("HGET", TOKENS, digest)
        return None if body is None else _read(body)

    async def every(self) -> list[Token]:
        """Return all tokens, by name."""
        found = (_read(body) for body in pairs(await self._store.command("HGETALL", TOKENS)).values())
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    async def any(self) -> bool:
        """Say whether there is a token."""
        return bool(await self._store.command("HLEN", TOKENS))

    async def put(self, token: Token) -> None:
        """Keep a token, as safely as what is submitted."""
        await self._store.command_beside("HSET", TOKENS, token.sha256, token.to_json())

    async def remove(self, digest: str) -> None:
        """Forget a token: from now on it opens nothing, also where a failover follows and `durability: wait` is set."""
        await self._store.command_beside("HDEL", TOKENS, digest)


def _read(body: str) -> Token | None:
    try:
        return Token.from_json(body)
    except ValidationError:  # what cannot be read opens nothing
        return None


class Rates:
    """Rates by name, each one number in a partition that the name chooses."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, name: str, *, per_second: float, burst: int) -> tuple[bool, float]:
        """Take one request; return whether it is allowed, and how many seconds to wait where it is not."""
        partition = crc32(name.encode()) % self._store.keys.partitions
        gap = max(int(1_000_000 / per_second), 1)
        reply = await self._store.act_on_partition("limit", partition, name, gap, burst)
        if reply[0] == "malformed":
            raise StoreError("store: a rate was refused (malformed); this is a defect, report it")
        is_allowed = reply[0] == "allowed"
        return is_allowed, 0.0 if is_allowed else int(reply[1]) / 1000


class Audit:
    """The operators' log: what was done to no single session."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, act: str, *, actor: str, target: str, data: JsonObject | None = None) -> None:
        """Add a line."""
        now = await self._store.now_ms()
        line = Act(number="", at=now, actor=actor, act=act, target=target, data=data or {})
        reply = await self._store.act_on_key("note", AUDIT, uuid4().hex, line.to_json(), AUDIT_ENTRIES)
        if reply[0] == "malformed":
            raise StoreError("store: a line of the operators' log was refused (malformed); this is a defect, report it")

    async def read(self, *, limit: int, before: str = "") -> list[Act]:
        """Return lines, newest first; `before` is the number of the last one that was read."""
        reply = await self._store.command("XREVRANGE", AUDIT, f"({before}" if before else "+", "-", "COUNT", limit)
        return [Act.from_json(pairs(flat)["e"]).model_copy(update={"number": str(number)}) for number, flat in reply]
