"""Retention: move sessions that ended long enough ago out of the store, into the archive.

    find -> load -> put (one transaction) -> prune

A session is removed only once the archive has committed it; whatever dies in between, the next round finds it again, writes
it again over itself, and removes it then. Any number of archivers may run: one leads, and two harm nothing.
"""

import asyncio
import logging
from dataclasses import dataclass

from orchestrator.archive import Archive
from orchestrator.contracts.errors import ConfigError, StoreError, Unreadable
from orchestrator.settings_model import ArchiveSettings
from orchestrator.store.fleet import Fleet
from orchestrator.store.pruning import Pruning, StoredSession
from orchestrator.store.store import Store

log = logging.getLogger(__name__)

#: What one transaction holds at most, in characters: a few large sessions, or many small ones.
TRANSACTION_CHARS = 4_000_000
#: The lead of the archive, beside those of partitions (numbers) and of apps (their names, which have no colon).
LEAD = "job:archive"
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ArchiveRound:
    """What one round did. `left`: as many as it was allowed, so that there may be more."""

    found: int = 0
    archived: int = 0
    left: bool = False
    session_ids: tuple[str, ...] = ()


class Archiver:
    """Moves sessions of one store into one archive."""

    def __init__(self, store: Store, archive: Archive, settings: ArchiveSettings) -> None:
        self._store = store
        self._archive = archive
        self._settings = settings
        self._pruning = Pruning(store)
        #: Sessions that cannot be moved, damaged ones and those whose ids another store has there: told once, and in nobody's way.
        self._kept: set[str] = set()

    async def run_once(
        self, actor: str, *, retention_hours: float | None = None, limit: int | None = None, dry_run: bool = False
    ) -> ArchiveRound:
        """Move what is old enough, at most `limit` (settings: batch); with `dry_run` only say which.

        Raise ConfigError without an archive, StoreUnfit for another one than before, StoreUnreachable, ArchiveUnreachable.
        """
        hours = self._settings.retention_hours if retention_hours is None else retention_hours
        most = self._settings.batch if limit is None else limit
        until = await self._store.now_ms() - int(hours * HOUR_MS)
        found = await self._pruning.find(until, limit=most + len(self._kept))
        found = [session_id for session_id in found if session_id not in self._kept][:most]
        if dry_run:
            return ArchiveRound(len(found), 0, len(found) == most, tuple(found))
        moved: list[str] = []
        batch: list[StoredSession] = []
        for session_id in found:
            try:
                session = await self._pruning.load(session_id)
            except Unreadable as error:
                log.warning("archive: %s", error)
                self._kept.add(session_id)
                continue
            if session is None:  # another archiver was quicker
                continue
            batch.append(session)
            if sum(one.size for one in batch) > TRANSACTION_CHARS:
                moved += await self._move(batch, actor)
                batch = []
        moved += await self._move(batch, actor)
        await self._pruning.note_run()
        return ArchiveRound(len(found), len(moved), len(found) == most, tuple(moved))

    async def _move(self, batch: list[StoredSession], actor: str) -> list[str]:
        if not batch:
            return []
        taken = await self._archive.put(batch, by=actor)
        for session_id in taken:
            log.warning(
                "archive: session %s: another store's session of this id is there, so this one stays; give each store its own",
                session_id,
            )
        self._kept.update(taken)
        batch = [session for session in batch if session.session_id not in taken]
        pruned = await asyncio.gather(*(self._pruning.prune(session) for session in batch))
        return [session.session_id for session, is_gone in zip(batch, pruned, strict=True) if is_gone]

    async def run_forever(self, name: str, fleet: Fleet) -> None:
        """See to it every `every_seconds`, for as long as we lead; a full round is followed by the next at once."""
        settings = self._settings
        lead_seconds = settings.every_seconds * 3
        try:
            while True:
                pause = settings.every_seconds
                try:
                    if await fleet.lead(name, [LEAD], lead_seconds):
                        done = await self.run_once(name)
                        if done.archived:
                            log.info("archive: %d sessions moved", done.archived)
                        # Without progress the next round would only meet the same trouble.
                        pause = 0.0 if done.left and done.archived else pause
                except (StoreError, ConfigError) as error:  # away, or misconfigured: what is old stays in the store
                    log.warning("archive: %s", error)
                await asyncio.sleep(pause)
        finally:
            await asyncio.shield(_yield_lead(fleet, name))


async def _yield_lead(fleet: Fleet, name: str) -> None:
    try:
        await fleet.yield_lead(name, [LEAD])
    except StoreError as error:
        log.debug("archive: the lead was not given up: %s", error)
