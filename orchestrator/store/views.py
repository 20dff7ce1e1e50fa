"""Reading: one session, its journal and context, lists and counts, dead letters, counters.

Nothing here changes anything, and nothing here needs a lease.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import ValidationError

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.errors import SessionNotFound, Unreadable
from orchestrator.contracts.ids import check_session_id
from orchestrator.contracts.messages import Message
from orchestrator.contracts.phases import PHASES
from orchestrator.contracts.session import Entry, PendingCall, Record
from orchestrator.store.codec import OUTLINE, advise_newer, decode_record, pairs
from orchestrator.store.keys import APPS
from orchestrator.store.listing import Listing, Place, Row
from orchestrator.store.store import Store

PAGE = 500


def read_body(session_id: str, seq: int, text: str) -> JsonObject:
    """Return a journal entry's body from its stored JSON; raise Unreadable."""
    try:
        body = load_json(text)
    except ValueError as error:
        raise Unreadable(f"session {session_id}: journal entry {seq} is no JSON ({error}); restore a backup") from error
    if not isinstance(body, dict):
        raise Unreadable(f"session {session_id}: journal entry {seq} is no object; restore a backup")
    return body


def read_entry(session_id: str, seq: int, at: int, body: JsonObject) -> Entry:
    """Return a journal entry from its body, its number and the store's time; raise Unreadable."""
    try:
        return Entry.model_validate({**body, "seq": seq, "at": at})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unreadable(
            f"session {session_id}: journal entry {seq}: {where}: {first['msg']}; restore a backup"
        ) from error


class Views:
    """What callers may read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, session_id: str) -> Record:
        """Return a session; raise InvalidSessionId, SessionNotFound or Unreadable."""
        check_session_id(session_id)
        flat = await self._store.command("HGETALL", self._store.keys.of_session("record", session_id))
        if not flat:
            raise SessionNotFound(session_id)
        return decode_record(session_id, pairs(flat))

    async def outline(self, session_id: str) -> Record:
        """Return a session as lists show it: without state, result fields, last call and compaction; raise what `record` does."""
        found = await self.fields(check_session_id(session_id), *OUTLINE)
        stored = {name: value for name, value in zip(OUTLINE, found, strict=True) if value is not None}
        if not stored:
            raise SessionNotFound(session_id)
        return decode_record(session_id, stored)

    async def fields(self, session_id: str, *names: str) -> list[str | None]:
        """Return fields of a session's record as they are stored, None for what is not there."""
        found: list[str | None] = await self._store.command(
            "HMGET", self._store.keys.of_session("record", session_id), *names
        )
        return found

    async def exists(self, session_id: str) -> bool:
        """Say whether a session is there."""
        return bool(await self._store.command("EXISTS", self._store.keys.of_session("record", session_id)))

    async def journal(self, session_id: str, *, after: int = 0, count: int = PAGE) -> tuple[Entry, ...]:
        """Return entries with numbers above `after`, oldest first; raise Unreadable."""
        rows = await self.journal_text(session_id, after=after, count=count)
        async with self._reading(session_id, "an entry of its journal"):
            return tuple(read_entry(session_id, seq, at, read_body(session_id, seq, text)) for seq, at, text in rows)

    async def journal_text(self, session_id: str, *, after: int = 0, count: int = PAGE) -> list[tuple[int, int, str]]:
        """Return entries as they are stored: number, the store's time, JSON."""
        key = self._store.keys.of_session("journal", session_id)
        reply = await self._store.command("XRANGE", key, f"{after + 1}-0", "+", "COUNT", count)
        return [(int(stream_id.split("-", 1)[0]), int(flat[1]), flat[3]) for stream_id, flat in reply]

    async def iter_journal(self, session_id: str, *, after: int = 0) -> AsyncIterator[Entry]:
        """Yield every entry there is now, in pages."""
        while page := await self.journal(session_id, after=after):
            for entry in page:
                yield entry
            after = page[-1].seq

    async def context(self, session_id: str, *, start: int = 0) -> tuple[Message, ...]:
        """Return the context's messages from index `start` on; raise Unreadable."""
        found = await self.context_text(session_id, start=start)
        async with self._reading(session_id, "a message of its context"):
            return tuple(Message.from_json(message) for message in found)

    async def context_text(self, session_id: str, *, start: int = 0, count: int | None = None) -> list[str]:
        """Return the context's messages as they are stored: `count` of them, or all, from index `start` on."""
        if count == 0:
            return []
        key = self._store.keys.of_session("context", session_id)
        last = -1 if count is None else start + count - 1
        found: list[str] = await self._store.command("LRANGE", key, start, last)
        return found

    async def posts_count(self, session_id: str) -> int:
        """Return how many posts lie in the mailbox."""
        return int(await self._store.command("LLEN", self._store.keys.of_session("mailbox", session_id)))

    async def mark_before(self, session_id: str, seq: int) -> tuple[int, dict[str, str]] | None:
        """Return the last mark at or before an entry: its entry's number, and its fields (scripts/mark.lua)."""
        key = self._store.keys.of_session("marks", session_id)
        for stream_id, flat in await self._store.command("XREVRANGE", key, f"{seq}-0", "-", "COUNT", 1):
            return int(stream_id.split("-", 1)[0]), pairs(flat)
        return None

    async def intents(self, session_id: str) -> dict[str, PendingCall]:
        """Return the tool calls that were announced and have no outcome yet; raise Unreadable."""
        flat = await self._store.command("HGETALL", self._store.keys.of_session("intents", session_id))
        async with self._reading(session_id, "an announced call"):
            return {call: PendingCall.from_json(body) for call, body in pairs(flat).items()}

    @asynccontextmanager
    async def _reading(self, session_id: str, what: str) -> AsyncIterator[None]:
        """Turn what cannot be read into Unreadable; of a newer Baton's session it says that, for nothing is damaged."""
        try:
            yield
        except (Unreadable, ValidationError) as error:
            newer = advise_newer((await self.fields(session_id, "format"))[0])
            if newer:
                raise Unreadable(f"session {session_id}: {what} cannot be read; {newer}") from error
            if isinstance(error, Unreadable):
                raise
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise Unreadable(
                f"session {session_id}: {what} cannot be read ({first['msg']}); restore a backup"
            ) from error

    async def apps(self) -> tuple[str, ...]:
        """Return every app that ever had a session here."""
        return tuple(sorted(await self._store.command("SMEMBERS", APPS)))

    def _ranges(self, app: str, bucket: str) -> tuple[str, str]:
        # "ended" alone means every status: "ended/" to "ended0", the byte after the slash.
        if bucket == "ended":
            return f"[{app}:ended/", f"({app}:ended0"
        return f"[{app}:{bucket}:", f"({app}:{bucket};"

    async def count(self, app: str, bucket: str) -> int:
        """Count an app's sessions in a phase, or with `ended/STATUS`."""
        low, high = self._ranges(app, bucket)
        keys = self._store.keys
        counts = await asyncio.gather(
            *(
                self._store.command("ZLEXCOUNT", keys.of_partition("by", number), low, high)
                for number in range(keys.partitions)
            )
        )
        return sum(int(count) for count in counts)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many sessions each app has in each phase; an app that ever had one is there."""
        apps, groups = await asyncio.gather(self.apps(), Listing(self._store).tally())
        total: dict[str, dict[str, int]] = {app: dict.fromkeys(PHASES, 0) for app in apps}
        for group in groups:
            phase = group.bucket.partition("/")[0]
            if phase in PHASES:  # what asks a person stands in its phase as well
                total.setdefault(group.app, dict.fromkeys(PHASES, 0))[phase] += group.count
        return total

    async def rows(
        self, *, app: str = "", bucket: str = "", before: Place | None = None, since_at: int | None = None, limit: int
    ) -> list[Row]:
        """Return the newest rows before a place, newest first; see Listing.page."""
        return await Listing(self._store).page(app=app, bucket=bucket, before=before, since_at=since_at, limit=limit)

    async def dead_letters(self, *, limit: int) -> list[tuple[str, JsonObject]]:
        """Return dead letters, newest first: id and {reason, detail, attempts, at}."""
        keys = self._store.keys
        pages = await asyncio.gather(
            *(
                self._store.command("ZREVRANGE", keys.of_partition("dead", number), 0, limit - 1, "WITHSCORES")
                for number in range(keys.partitions)
            )
        )
        newest = sorted(((float(at), one) for page in pages for one, at in pairs(page).items()), reverse=True)[:limit]
        bodies = await Listing(self._store).letters([session_id for _, session_id in newest])
        found: list[tuple[str, JsonObject]] = []
        for (_, session_id), body in zip(newest, bodies, strict=True):
            info = load_json(body) if body else None
            found.append((session_id, info if isinstance(info, dict) else {}))
        return found

    async def stats(self) -> dict[str, int]:
        """Return the sum of every partition's counters."""
        keys = self._store.keys
        pages = await asyncio.gather(
            *(self._store.command("HGETALL", keys.of_partition("stats", number)) for number in range(keys.partitions))
        )
        total: dict[str, int] = {}
        for page in pages:
            for name, value in pairs(page).items():
                total[name] = total.get(name, 0) + int(value)
        return total

    async def near(self, session_id: str, candidates: Sequence[str] = ()) -> list[str]:
        """Return existing ids with the same prefix and day: what a mistyped id may have meant."""
        stem = session_id.rsplit("-", 1)[0]
        numbers = [f"{stem}-{number:03d}" for number in range(1, 6)]
        found = await asyncio.gather(*(self.exists(guess) for guess in (*candidates, *numbers)))
        return [guess for guess, there in zip((*candidates, *numbers), found, strict=True) if there]
