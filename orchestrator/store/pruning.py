"""Ended sessions as they leave the store: which are old enough, all that is kept of one, and its removal.

Nothing follows `ended`, so what is read of such a session stays true; `prune` refuses all the same where revision or journal
differ from what was read. Keeping what is read is the archive's (orchestrator/archive.py), and comes first.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.contracts.errors import StoreError, StoreUnfit, Unreadable
from orchestrator.store.codec import pairs
from orchestrator.store.keys import ARCHIVE_ID, ARCHIVED_AT, META
from orchestrator.store.store import Store
from orchestrator.store.wire import ServerRefused

PAGE = 1_000
#: More has no count and no time in ms.
DIGITS = 15

#: What an archive orders and knows sessions by: whole numbers, beside the app.
_NUMBERS = ("since", "created", "rev", "seq")


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One session as the store holds it: hash fields, journal as (seq, at in ms, body), context messages, open intents."""

    session_id: str
    record: Mapping[str, str]
    journal: tuple[tuple[int, int, str], ...]
    context: tuple[str, ...]
    intents: Mapping[str, str]

    @property
    def size(self) -> int:
        """How many characters it is, roughly."""
        bodies = sum(len(body) for _, _, body in self.journal) + sum(map(len, self.context))
        return bodies + sum(map(len, self.record.values()))


class Pruning:
    """What the archiver does to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def bind(self, archive_id: str) -> None:
        """Say that this store's sessions go into that archive; raise StoreUnfit where they went into another one."""
        await self._store.command("HSETNX", META, ARCHIVE_ID, archive_id)
        bound = await bound_archive(self._store)
        if bound != archive_id:
            raise StoreUnfit(
                f"archive: this store's sessions are in the archive {bound}, archive.url names {archive_id}; name that one"
            )

    async def find(self, until: int, *, limit: int) -> list[str]:
        """Return sessions that ended by that time (ms), the oldest first, at most `limit`."""
        pages = await asyncio.gather(
            *(self._find_in(number, until, limit) for number in range(self._store.keys.partitions))
        )
        found = sorted(one for page in pages for one in page)
        return [session_id for _, session_id in found[:limit]]

    async def _find_in(self, partition: int, until: int, limit: int) -> list[tuple[int, str]]:
        keys = self._store.keys
        counters = await self._store.command("HKEYS", keys.of_partition("stats", partition))
        buckets = [name.removeprefix("ended:").split(":", 1) for name in counters if name.startswith("ended:")]
        by = keys.of_partition("by", partition)
        lists = await asyncio.gather(
            *(
                # Since the index is ordered by text, and a time has 13 digits, those up to `until` are one range: as long as
                # that has as many, decades before all of them too.
                self._store.command(
                    "ZRANGEBYLEX",
                    by,
                    f"[{app}:ended/{status}:-:",
                    f"({app}:ended/{status}:-:{max(until, 0):013d};",
                    "LIMIT",
                    0,
                    limit,
                )
                for app, status in buckets
            )
        )
        members = [member.rsplit(":", 2) for page in lists for member in page]
        return [(int(since), session_id) for _, since, session_id in members]

    async def load(self, session_id: str) -> StoredSession | None:
        """Return all that is kept of an ended session; None where it is not there or not ended. Raise Unreadable."""
        try:
            return await self._load(session_id)
        except ServerRefused as error:
            if error.code != "WRONGTYPE":  # the server is in trouble, not this session
                raise
            raise Unreadable(f"session {session_id}: {error}; restore a backup") from error

    async def _load(self, session_id: str) -> StoredSession | None:
        key = self._store.keys.of_session
        record = pairs(await self._store.command("HGETALL", key("record", session_id)))
        if record.get("phase") != "ended":
            return None
        wrong = [name for name in _NUMBERS if not _is_number(record.get(name, ""))]
        if wrong or not record.get("app"):
            raise Unreadable(
                f"session {session_id}: {', '.join(wrong) or 'app'} is missing or damaged; restore a backup"
            )
        intents = pairs(await self._store.command("HGETALL", key("intents", session_id)))
        return StoredSession(
            session_id, record, await self._journal(session_id), await self._context(session_id), intents
        )

    async def _journal(self, session_id: str) -> tuple[tuple[int, int, str], ...]:
        name, found, after = self._store.keys.of_session("journal", session_id), [], 0
        while page := await self._store.command("XRANGE", name, f"{after + 1}-0", "+", "COUNT", PAGE):
            for stream_id, flat in page:
                fields, after = pairs(flat), int(stream_id.split("-", 1)[0])
                if "e" not in fields or not _is_number(fields.get("t", "")):
                    raise Unreadable(f"session {session_id}: journal entry {after} is damaged; restore a backup")
                found.append((after, int(fields["t"]), fields["e"]))
        return tuple(found)

    async def _context(self, session_id: str) -> tuple[str, ...]:
        name = self._store.keys.of_session("context", session_id)
        found: list[str] = []
        while page := await self._store.command("LRANGE", name, len(found), len(found) + PAGE - 1):
            found.extend(page)
        return tuple(found)

    async def prune(self, session: StoredSession) -> bool:
        """Remove a session that the archive holds; False where it changed meanwhile, and is to be archived anew."""
        reply = await self._store.act("prune", session.session_id, session.record["rev"], session.record["seq"])
        if reply[0] == "malformed":
            raise StoreError(f"session {session.session_id}: prune refused (malformed); this is a defect, report it")
        return bool(reply[0] in {"pruned", "missing"})

    async def note_run(self) -> None:
        """Remember that the store was looked through now."""
        await self._store.command("HSET", META, ARCHIVED_AT, await self._store.now_ms())


def _is_number(text: str) -> bool:
    """Say whether a field is a whole number that a database holds."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS


async def bound_archive(store: Store) -> str:
    """Return the archive that this store's sessions went into, empty where none did yet."""
    return str(await store.command("HGET", META, ARCHIVE_ID) or "")
