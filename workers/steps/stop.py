"""What a session that was cancelled does before its end is committed: the word goes on to its child sessions.

Before, and under a post id made of the parent's: a crash in between repeats the word and changes nothing, while the other
order could lose it. Children stop each by their own rules, and tell their own.

The app's hooks hear of a cancel after that (hook_events.py): every cancelled session passes through both once a commit,
whoever stopped it and wherever it was.
"""

import logging

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, PayloadTooLarge, PhaseRefused, SessionNotFound
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Supervisor
from orchestrator.kernel.change import Change
from orchestrator.kernel.children import child_items, child_key, open_children
from workers.steps.world import World

log = logging.getLogger(__name__)


async def tell_of_cancel(world: World, before: Record, change: Change) -> Change:
    """Pass a cancel on; return the change with how many children were told. `before` is the session as it was."""
    children = open_children(before) or await _find_begun(world, before)
    told = 0
    for child in children:
        told += await _cancel_child(world, change.record, child)
    if not told:
        return change
    data: JsonObject = {**change.data, "children": told}
    return change._replace(data=data)


async def _find_begun(world: World, record: Record) -> list[str]:
    """Return the children that a fan-out may have submitted without coming to its commit: they are known by their keys."""
    skill = world.spec.skills.get(record.cursor.skill)
    if not isinstance(skill, Supervisor) or skill.for_each is None or record.cursor.stage != "enter":
        return []
    try:
        count = len(child_items(skill, record))
    except ConfigError:  # no list is there, so nothing was submitted for it
        return []
    found = [await world.client.find_by_key(world.spec.name, child_key(record, number)) for number in range(count)]
    return [child for child in found if child is not None]


async def _cancel_child(world: World, parent: Record, child: str) -> bool:
    """Ask one child to stop as its parent was asked; say whether it heard. One that is settled, or not there, need not."""
    how = "immediate" if parent.cancel_immediate else "graceful"
    try:
        return await world.client.cancel(
            child,
            actor=f"session:{parent.session_id}",
            reason=f"its parent was stopped: {parent.cursor.stop_reason}"[:1000],
            immediate=parent.cancel_immediate,
            post_id=f"cancel:{parent.session_id}:{how}",
        )
    except (PhaseRefused, SessionNotFound):
        return False
    except PayloadTooLarge as error:
        log.warning("session %s: its child was not told of the cancel: %s", parent.session_id, error)
        return False
