"""A stage with an archive beside its store, for whole sessions that end and are moved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from orchestrator.archive import Archive
from orchestrator.archiver import Archiver
from orchestrator.client import Client
from orchestrator.contracts.session import Entry
from orchestrator.settings_model import ArchiveSettings
from tests.stage import Stage, stage

AT_ONCE = ArchiveSettings(retention_hours=0)


@dataclass
class Hall:
    """A stage with an archive: `client` reads both, `on.client` the store alone."""

    on: Stage
    client: Client
    archive: Archive
    archiver: Archiver

    async def ended(self, **state: object) -> str:
        """Return a session that ended."""
        session_id = await self.on.submit(**{"plan": "look", "answer": "ok", **state})  # type: ignore[arg-type]
        assert (await self.on.run(self.on.worker(), session_id)).phase == "ended"
        return session_id

    async def entries(self, session_id: str) -> list[Entry]:
        """Return a session's journal."""
        return [entry async for entry in self.client.events(session_id)]


@asynccontextmanager
async def hall(url: str, archive_url: str) -> AsyncIterator[Hall]:
    """Lend a stage with an archive."""
    async with stage(url) as on:
        archive = Archive(on.store, archive_url)
        try:
            yield Hall(on, Client(on.store, on.specs, archive=archive), archive, Archiver(on.store, archive, AT_ONCE))
        finally:
            await archive.aclose()


async def everything(client: Client, session_id: str) -> tuple[object, ...]:
    """Return all that a caller can read of a session."""
    return (
        await client.show(session_id),
        [entry async for entry in client.events(session_id)],
        [entry async for entry in client.events(session_id, after=2)],
        await client.context(session_id),
        await client.context(session_id, start=1),
        await client.context(session_id, start=-1),
        await client.intents(session_id),
        await client.explain(session_id),
        await client.list_sessions(),
        await client.list_sessions(bucket="ended/fine"),
        await client.list_sessions(app="everything", bucket="ended", limit=1),
        await client.counts(),
        await client.search(["OK"]),
        await client.views.exists(session_id),
        await client.wait_for([session_id], seconds=1),
    )
