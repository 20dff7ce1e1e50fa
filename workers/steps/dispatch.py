"""A supervisor's step: send the work on to a subordinate, or to child sessions and wait for them."""

import logging
import re
from collections.abc import Sequence
from typing import cast

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, SessionNotFound, Unreadable
from orchestrator.contracts.messages import Message, ModelRequest
from orchestrator.contracts.phases import SETTLED
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Supervisor
from orchestrator.kernel.advance import current_skill, enter, leave
from orchestrator.kernel.change import Change, finish, move, suspend
from orchestrator.kernel.children import CHILD_KEY_SECONDS, child_items, child_key, children_wait, join
from orchestrator.kernel.expressions import ExpressionError, compile_expression
from workers.steps.agent_turn import ask_model
from workers.steps.context import show_context
from workers.steps.hooked_turn import read_context
from workers.steps.world import World

log = logging.getLogger(__name__)


async def perform(world: World, record: Record) -> Change:
    """Dispatch once."""
    skill = cast("Supervisor", current_skill(world.spec, record))
    if record.wait is not None and record.wait.kind == "child":
        return await _look(world, record)
    depth = (record.cursor.depth if skill.for_each is None else record.level) + 1
    if depth > skill.max_dispatch_depth:
        data: JsonObject = {"error": f"{skill.name}: dispatch depth {depth} is over {skill.max_dispatch_depth}"}
        return finish(record, "dispatch", data=data)
    if skill.for_each is not None:
        return await _fan_out(world, skill, record)
    if skill.dispatch_strategy == "rule":
        return _send_on(record, _by_rule(skill, record), depth)
    seen = await show_context(world, record, await read_context(world), ask_model)
    if isinstance(seen, Change):
        return seen
    return seen.settle(_send_on(record, await _by_model(world, skill, record, seen.messages), depth))


def _send_on(record: Record, target: str, depth: int) -> Change:
    return Change(record=move(record, enter(record, target, depth=depth)), step="dispatch", data={"target": target})


def _by_rule(skill: Supervisor, record: Record) -> str:
    """Return the target of the first rule that holds; a rule that cannot be evaluated is passed over."""
    names: JsonObject = {
        "state": record.state,
        "text": record.text,
        "session": record.session_id,
        "depth": record.cursor.depth,
    }
    for rule in skill.dispatch_rules:
        try:
            if compile_expression(rule.when).holds(names):
                return rule.target
        except ExpressionError:
            continue
    return skill.subordinates[0]


async def _by_model(world: World, skill: Supervisor, record: Record, messages: tuple[Message, ...]) -> str:
    """Return the first subordinate that the model's reply names, else the first of all."""
    request = ModelRequest(
        session_id=record.session_id,
        skill=skill.name,
        model=world.spec.model.model,
        system=f"{skill.dispatch_prompt}\n\nAnswer with one of: {', '.join(skill.subordinates)}",
        messages=(*messages, Message(role="user", content="Who goes on?", skill=skill.name)),
        state=record.state,
        turn=record.cursor.turn,
        timeout_seconds=world.spec.model.request_timeout_seconds,
    )
    reply = (await ask_model(world, record, request)).content
    return find_named(reply, skill.subordinates) or skill.subordinates[0]


def find_named(reply: str, names: Sequence[str]) -> str | None:
    """Return the name that a reply names first, None where it names none. A name within a longer word is not named.

    >>> names = ("review", "review_security")
    >>> [find_named(reply, names) for reply in ("review_security, then review", "请review。", "preview", "")]
    ['review_security', 'review', None, None]
    """
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    found = re.search(rf"(?<![A-Za-z0-9_-])(?:{longest_first})(?![A-Za-z0-9_-])", reply)
    return found and found.group()


async def _fan_out(world: World, skill: Supervisor, record: Record) -> Change:
    """Submit a child for each item. Repeating this step finds the same children by their keys."""
    items = child_items(skill, record)
    if not items:
        state = {**record.state, skill.into: {}}
        return leave(world.spec, record.model_copy(update={"state": state}), "dispatch", world.now())
    children = []
    for number, item in enumerate(items):
        submitted = await world.client.submit(
            world.spec.name,
            text=record.text,
            overrides={**record.state, skill.for_each or "items": [], skill.item_key: item},
            actor=f"session:{record.session_id}",
            key=child_key(record, number),
            key_seconds=CHILD_KEY_SECONDS,
            parent=record.session_id,
            level=record.level + 1,
            entry_skill=skill.subordinates[0],
        )
        children.append(submitted.session_id)
    wait = children_wait(skill, record, children, world.now())
    return suspend(record, wait, "dispatch", data={"children": len(children)})


async def _look(world: World, record: Record) -> Change:
    """Ask after the children oneself: a word of theirs may have been lost with a dying worker."""
    wait = record.wait
    if wait is None:
        raise ConfigError(f"session {record.session_id}: waits for no child; this is a defect, report it")
    children = dict(wait.children)
    for child, end in wait.children.items():
        if end is None:
            children[child] = await _find_end(world, child)
    fresh = wait.model_copy(update={"children": children, "deadline_at": world.now() + 30_000})
    after = join(record, fresh)
    if after.wait is None:
        return leave(world.spec, after, "wait", world.now())
    return suspend(after, fresh, "wait")


async def _find_end(world: World, child: str) -> JsonObject | None:
    """Return how a child ended, None while it has not. One that cannot be read takes its parent along in no case.

    Damaged, it is a dead letter, or will be; a newer Baton's, it is told of by those who can read it. One that is gone, with
    the moments that a failover or a backup took back, will never end: it counts as dead, and the parent goes on.
    """
    try:
        found = await world.client.show(child)
    except SessionNotFound:
        log.warning("session %s: gone from the store while its parent waits for it; it counts as dead", child)
        return {"status": None, "phase": "dead", "fields": {}, "reason": "missing"}
    except Unreadable:
        phase, reason = await world.client.views.fields(child, "phase", "reason")
        return {"status": None, "phase": "dead", "fields": {}, "reason": reason or ""} if phase == "dead" else None
    if found.phase not in SETTLED:
        return None
    return {"status": found.status, "phase": found.phase, "fields": found.fields, "reason": found.reason}
