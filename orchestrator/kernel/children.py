"""Child sessions: what a supervisor submits, and when its wait for them is over.

Pure. Submitting them, under a key that makes a repetition harmless, is the dispatch step's work;
telling the parent of an end is the finaliser's.
"""

from typing import Final

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.own_keys import OwnKey
from orchestrator.contracts.session import Record, Wait
from orchestrator.contracts.skill import Supervisor

#: How often a parent looks at its children by itself, should a word of theirs have been lost.
LOOK_MS = 30_000

#: How long a child is known by its key: as long as the step that submits it may be put off and then done again - a paused
#: queue, a fleet that is down, a dead letter that a person sends again. A child that was forgotten would be a second one.
CHILD_KEY_SECONDS: Final = 30 * 86_400


def child_items(skill: Supervisor, record: Record) -> list[JsonValue]:
    """Return one item for each child session; raise ConfigError where the state holds no list."""
    value = record.state.get(skill.for_each or "")
    if not isinstance(value, list):
        raise ConfigError(
            f"skill {skill.name}: for_each: state key {skill.for_each!r} is no list; fill it before this skill"
        )
    if len(value) > skill.max_children:
        raise ConfigError(
            f"skill {skill.name}: for_each: {len(value)} items are over max_children {skill.max_children}"
        )
    return value


def child_key(record: Record, number: int) -> str:
    """Return the idempotency key of one child: the same whenever this very step is repeated."""
    return OwnKey.CHILD.make(record.session_id, record.cursor.serial, number)


def children_wait(skill: Supervisor, record: Record, children: list[str], now: int) -> Wait:
    """Return the wait for these children."""
    return Wait(
        wait_id=f"{record.session_id}/children-{record.cursor.serial}",
        kind="child",
        since_at=now,
        deadline_at=now + LOOK_MS,
        prompt=f"{skill.name}: {len(children)} child sessions",
        children=dict.fromkeys(children),
        join=skill.join,
        into=skill.into,
    )


def open_children(record: Record) -> list[str]:
    """Return the children that a session waits for and that have not told their end."""
    return [] if record.wait is None else [child for child, end in record.wait.children.items() if end is None]


def fold_child(record: Record, wait: Wait, child: str, end: JsonValue) -> Record:
    """Note how a child ended; resolve the wait when enough have."""
    if wait.kind != "child" or child not in wait.children:
        return record
    told: JsonObject = end if isinstance(end, dict) else {"status": end}
    children = {**wait.children, child: told}
    return join(record, wait.model_copy(update={"children": children}))


def join(record: Record, wait: Wait) -> Record:
    """Resolve a wait for children if it is over: all of them ended, or any, as the skill says."""
    ends = [end for end in wait.children.values() if end is not None]
    enough = bool(ends) if wait.join == "any" else len(ends) == len(wait.children)
    if not enough:
        return record.model_copy(update={"wait": wait})
    results: JsonObject = {child: end for child, end in wait.children.items() if end is not None}
    state = {**record.state, wait.into or "children": results}
    cursor = record.cursor.model_copy(update={"stage": "route"})
    return record.model_copy(update={"state": state, "cursor": cursor, "wait": None})
