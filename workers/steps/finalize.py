"""The finaliser's step: settle a session by its app's rules, and tell its parent first.

The parent hears before the end is committed, under a post id made of the child's id: a crash in
between repeats the word and changes nothing, while the other order could lose it.
"""

from orchestrator.client import Client
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import PayloadTooLarge, PhaseRefused, SessionNotFound
from orchestrator.contracts.session import Record
from orchestrator.finalizer import settle_session
from orchestrator.kernel.change import Change
from workers.steps.world import World


async def perform(world: World, record: Record) -> Change:
    """Return the change that ends the session."""
    change = settle_session(world.spec, record, open_intents=tuple(world.intents))
    if record.parent is not None and has_to_tell(record):
        await tell_parent(world.client, record.parent, change.record, status=change.status, phase="ended")
    return change


def has_to_tell(record: Record) -> bool:
    """Say whether a parent waits for this session's end; for a fork of its child nobody does."""
    return record.parent is not None and not record.forked_at


async def tell_parent(client: Client, parent: str, child: Record, *, status: str, phase: str) -> None:
    """Post a child's end to its parent; one that is gone or settled needs no word, a flooded one looks by itself."""
    end: JsonObject = {"status": status or None, "phase": phase, "fields": child.fields, "reason": child.reason}
    try:
        await client.post_child_ended(parent, child, end)
    except (PhaseRefused, SessionNotFound, PayloadTooLarge):
        return
