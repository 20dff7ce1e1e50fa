"""The archive for one event loop: opened when first needed, asked in a thread of its own.

It is found through the store: what was archived says into which archive, so that nobody takes an empty one for the truth. Who
reads sessions reads them through `archive_views`; who moves them there is `archiver`.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from orchestrator.contracts.errors import ConfigError
from orchestrator.store.pruning import Pruning, StoredSession, bound_archive
from orchestrator.store.store import Store

if TYPE_CHECKING:
    from orchestrator.archive_database import ArchiveDatabase, ArchivedRow, ArchiveFigures

T = TypeVar("T")


class Archive:
    """One archive by URL; an empty URL is none, which is found out when it is needed."""

    def __init__(self, store: Store, url: str) -> None:
        self._store = store
        self.url = url
        self._database: ArchiveDatabase | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._is_checked = False

    async def is_used(self) -> bool:
        """Say whether anything of this store was ever archived; raise ConfigError where it went into another archive."""
        if self._is_checked:
            return True
        bound = await bound_archive(self._store)
        if not bound:
            return False
        if not self.url:
            raise ConfigError("archive.url: sessions of this store are archived, and no archive is named; set it")
        archive_id = await self.identity()
        if archive_id != bound:
            raise ConfigError(
                f"archive.url: it is the archive {archive_id}, this store's sessions are in {bound}; mend it"
            )
        self._is_checked = True
        return True

    async def identity(self) -> str:
        """Return the archive's own name."""
        return await self._ask(lambda database: database.archive_id)

    async def put(self, sessions: Sequence[StoredSession], *, by: str) -> tuple[str, ...]:
        """Write sessions, all or none, and bind the store to this archive before; they may be removed from the store then.

        Not so those whose ids are returned: under them another store's sessions are there.
        """
        await Pruning(self._store).bind(await self.identity())
        now = await self._store.now_ms()
        return await self._ask(lambda database: database.put(sessions, at=now, by=by))

    async def record(self, session_id: str) -> dict[str, str] | None:
        """Return the hash fields of a session, None where it is not here."""
        return await self._ask(lambda database: database.record(session_id))

    async def intents(self, session_id: str) -> dict[str, str] | None:
        """Return the intents that a session ended with, None where it is not here."""
        return await self._ask(lambda database: database.intents(session_id))

    async def journal(self, session_id: str, after: int, count: int) -> list[tuple[int, int, str]]:
        """Return journal entries with numbers above `after`: number, time, body."""
        return await self._ask(lambda database: database.journal(session_id, after, count))

    async def context(self, session_id: str, start: int) -> list[str]:
        """Return the context's messages from index `start` on."""
        return await self._ask(lambda database: database.context(session_id, start))

    async def page(
        self, app: str, status: str | None, before: tuple[int, str] | None, since_at: int | None, limit: int
    ) -> "list[ArchivedRow]":
        """Return the newest rows before a place (time, id), none older than `since_at`; without an app, of all."""
        return await self._ask(lambda database: database.page(app, status, before, since_at, limit))

    async def count(self, app: str, status: str | None) -> int:
        """Count an app's sessions, of one status where given."""
        return await self._ask(lambda database: database.count(app, status))

    async def search(
        self, words: Sequence[str], app: str | None, limit: int, *, before: tuple[int, str] | None = None
    ) -> "list[ArchivedRow]":
        """Return the newest rows before a place (time, id) that hold all these words."""
        return await self._ask(lambda database: database.search(words, app, limit, before=before))

    async def figures(self) -> "ArchiveFigures":
        """Return how much there is."""
        return await self._ask(lambda database: database.figures())

    async def count_ended(self, before: int) -> int:
        """Count the sessions that ended before that time (ms)."""
        return await self._ask(lambda database: database.count_ended(before))

    async def purge(self, before: int, *, limit: int) -> int:
        """Delete for good what ended before that time (ms); return how many sessions."""
        return await self._ask(lambda database: database.purge(before, limit))

    async def aclose(self) -> None:
        """Close it."""
        if self._database is not None:
            await self._ask(lambda database: database.close())
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._database, self._thread, self._is_checked = None, None, False

    async def _ask(self, work: "Callable[[ArchiveDatabase], T]") -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="baton-archive")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(self._open()))

    def _open(self) -> "ArchiveDatabase":
        if self._database is None:
            if not self.url:
                raise ConfigError(
                    "archive.url: no archive is named; set it to sqlite:////path/archive.db or postgresql://…"
                )
            from orchestrator.archive_database import ArchiveDatabase

            self._database = ArchiveDatabase(self.url)
        return self._database
