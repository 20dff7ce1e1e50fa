"""Reading as if nothing had been archived: the store first, then the archive. The one place where the two meet.

A session is removed from the store only once it is in the archive, so whoever does not find it here finds it there; for a
moment it is in both, and counts once in lists. What is not settled is never asked for in the archive.
"""

from collections.abc import Mapping

from orchestrator.archive import Archive
from orchestrator.contracts.errors import PhaseRefused, SessionNotFound
from orchestrator.contracts.session import PendingCall, Post, Record
from orchestrator.store.codec import OUTLINE, decode_record
from orchestrator.store.intake import Intake
from orchestrator.store.listing import Place, Row
from orchestrator.store.store import Store
from orchestrator.store.views import PAGE, Views

ENDED = "ended"


class ArchivedViews(Views):
    """What callers may read, wherever it lies by now."""

    def __init__(self, store: Store, archive: Archive) -> None:
        super().__init__(store)
        self._archive = archive

    async def record(self, session_id: str) -> Record:
        """Return a session; raise InvalidSessionId, SessionNotFound or Unreadable."""
        try:
            return await super().record(session_id)
        except SessionNotFound as error:
            return decode_record(session_id, await self._archived(error))

    async def outline(self, session_id: str) -> Record:
        """Return a session as lists show it; raise what `record` does."""
        try:
            return await super().outline(session_id)
        except SessionNotFound as error:
            stored = await self._archived(error)
            return decode_record(session_id, {name: stored[name] for name in OUTLINE if name in stored})

    async def _archived(self, missing: SessionNotFound) -> Mapping[str, str]:
        stored = await self._archive.record(missing.session_id) if await self._archive.is_used() else None
        if stored is None:
            raise missing
        return stored

    async def exists(self, session_id: str) -> bool:
        """Say whether a session is there."""
        return await super().exists(session_id) or await self.is_archived(session_id)

    async def is_archived(self, session_id: str) -> bool:
        """Say whether a session is in the archive alone."""
        if await super().exists(session_id) or not await self._archive.is_used():
            return False
        return await self._archive.record(session_id) is not None

    async def journal_text(self, session_id: str, *, after: int = 0, count: int = PAGE) -> list[tuple[int, int, str]]:
        """Return entries as they are stored: number, the store's time, JSON."""
        found = await super().journal_text(session_id, after=after, count=count)
        # A journal that is followed has nothing new most of the time: only one that is gone is looked for.
        if found or await super().exists(session_id) or not await self._archive.is_used():
            return found
        return await self._archive.journal(session_id, after, count)

    async def context_text(self, session_id: str, *, start: int = 0, count: int | None = None) -> list[str]:
        """Return the context's messages as they are stored."""
        found = await super().context_text(session_id, start=start, count=count)
        if found or count == 0 or await super().exists(session_id) or not await self._archive.is_used():
            return found
        return (await self._archive.context(session_id, start))[:count]

    async def intents(self, session_id: str) -> dict[str, PendingCall]:
        """Return the tool calls that were announced and have no outcome."""
        found = await super().intents(session_id)
        if found or await super().exists(session_id) or not await self._archive.is_used():
            return found
        kept = await self._archive.intents(session_id) or {}
        return {call: PendingCall.from_json(body) for call, body in kept.items()}

    async def count(self, app: str, bucket: str) -> int:
        """Count an app's sessions in a phase, or with `ended/STATUS`."""
        count = await super().count(app, bucket)
        if _is_ended(bucket) and await self._archive.is_used():
            count += await self._archive.count(app, _status(bucket))
        return count

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many sessions each app has in each phase."""
        total = await super().counts()
        if await self._archive.is_used():
            for app, phases in total.items():
                phases[ENDED] += await self._archive.count(app, None)
        return total

    async def rows(
        self, *, app: str = "", bucket: str = "", before: Place | None = None, since_at: int | None = None, limit: int
    ) -> list[Row]:
        """Return the newest rows before a place, wherever they lie, newest first; one that lies in both comes once."""
        found = await super().rows(app=app, bucket=bucket, before=before, since_at=since_at, limit=limit)
        if not (bucket == "" or _is_ended(bucket)) or not await self._archive.is_used():
            return found
        place = None if before is None else (before.since_at, before.session_id)
        known = {row.session_id for row in found}
        found += [
            Row(one.session_id, one.app, f"{ENDED}/{one.status}", one.ended_at)
            for one in await self._archive.page(app, _status(bucket), place, since_at, limit)
            if one.session_id not in known
        ]
        found.sort(key=lambda row: (row.since_at, row.session_id), reverse=True)
        return found[:limit]


class ArchivedIntake(Intake):
    """What callers may put into the store; of an archived session it says that it ended, not that it is unknown."""

    def __init__(self, store: Store, views: ArchivedViews, *, key_ttl_seconds: int) -> None:
        super().__init__(store, key_ttl_seconds=key_ttl_seconds)
        self._views = views

    async def post(self, session_id: str, post: Post, *, answers: str | None = None) -> bool:
        """Put a post into the mailbox; see Intake."""
        try:
            return await super().post(session_id, post, answers=answers)
        except SessionNotFound:
            if not await self._views.is_archived(session_id):
                raise
            raise PhaseRefused(f"session {session_id}: it is ended already; nothing more reaches it") from None

    async def replay(self, session_id: str, actor: str, note: str = "") -> None:
        """Send a dead letter again; see Intake."""
        try:
            await super().replay(session_id, actor, note)
        except SessionNotFound:
            if not await self._views.is_archived(session_id):
                raise
            raise PhaseRefused(f"session {session_id}: it is ended, not a dead letter; nothing to replay") from None


def _is_ended(bucket: str) -> bool:
    return bucket == ENDED or bucket.startswith(f"{ENDED}/")


def _status(bucket: str) -> str | None:
    return bucket.removeprefix(f"{ENDED}/") if "/" in bucket else None
