"""What more than one face reads: pages of a journal, apps with their sessions, the question that an answer is for."""

from collections.abc import Sequence

from orchestrator.client import Client
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import Entry
from orchestrator.interfaces.cli.shapes import app_shape
from orchestrator.operations import Operations


async def read_entries(client: Client, session_id: str, after: int, limit: int) -> list[Entry]:
    """Return at most so many journal entries behind a number, oldest first."""
    found: list[Entry] = []
    async for entry in client.events(session_id, after=after):
        found.append(entry)
        if len(found) == limit:
            break
    return found


async def read_apps(operations: Operations, names: Sequence[str]) -> list[JsonObject]:
    """Return loaded apps, each with its sessions by phase and whether it is paused."""
    client = operations.client
    counts, paused = await client.counts(), {one.target for one in await operations.pauses()}
    found: list[JsonObject] = []
    for name in names:
        shape = app_shape(client.specs[name])
        del shape["folder"]  # where it lies on this machine is nobody's business
        found.append({**shape, "paused": f"app:{name}" in paused, "sessions": {**counts.get(name, {})}})
    return found
