"""Plain declared steps: tool, ask, timer, compute, and leaving a skill by its route."""

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from inspect import iscoroutinefunction
from math import isfinite
from typing import cast

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import AppCodeFailed, ToolError
from orchestrator.contracts.messages import ToolRequest
from orchestrator.contracts.session import Record, Wait
from orchestrator.contracts.skill import AskStep, ComputeStep, TimerStep, ToolStep
from orchestrator.kernel.advance import current_skill, leave
from orchestrator.kernel.change import Change, move, suspend
from orchestrator.kernel.expressions import resolve
from orchestrator.kernel.turns import line_up
from workers.steps.world import World


async def perform_route(world: World, record: Record) -> Change:
    """Leave the skill: its wait is over."""
    return leave(world.spec, record, "route", world.now())


async def enter_tool(world: World, record: Record) -> Change:
    """Put the declared call in line; the next step makes it like any other."""
    skill = cast("ToolStep", current_skill(world.spec, record))
    args = resolve(cast("JsonValue", dict(skill.args)), {"state": record.state, "text": record.text})
    return await line_up_call(world, record, skill.tool, cast("JsonObject", args))


async def line_up_call(world: World, record: Record, tool: str, args: JsonObject) -> Change:
    """Put a declared call in line; raise AppCodeFailed where no server has the tool."""
    digest, catalogue = await world.load_catalogue(record)
    names = {name.split(":", 1)[1]: name for name in catalogue} | {name: name for name in catalogue}
    full = names.get(tool)
    if full is None:
        known = ", ".join(sorted(catalogue))
        raise AppCodeFailed(f"skill {record.cursor.skill}: no server has the tool {tool!r}; known: {known}")
    request = ToolRequest(call_id=f"call-{record.cursor.serial}-0", tool=full, args=args)
    call = line_up(world.spec, record, request, catalogue[full])
    cursor = record.cursor.model_copy(update={"stage": "tools", "calls": (call,)})
    moved = move(record, cursor)
    if record.catalogue != digest:
        moved = moved.model_copy(update={"catalogue": digest})
    return Change(record=moved, step="route")


async def enter_ask(world: World, record: Record) -> Change:
    """Wait for a person's answer."""
    skill = cast("AskStep", current_skill(world.spec, record))
    now = world.now()
    deadline = None if skill.timeout_seconds is None else now + int(skill.timeout_seconds * 1000)
    wait = Wait(
        wait_id=f"{record.session_id}/ask-{record.cursor.serial}",
        kind="input",
        since_at=now,
        deadline_at=deadline,
        prompt=skill.prompt,
        into=skill.into,
    )
    return suspend(record, wait, "wait")


async def enter_timer(world: World, record: Record) -> Change:
    """Wait for the time, or for the signal where one is declared and has not come yet."""
    skill = cast("TimerStep", current_skill(world.spec, record))
    cursor, now = record.cursor, world.now()
    if skill.until_signal is not None and skill.until_signal in cursor.signals:
        signals = list(cursor.signals)
        signals.remove(skill.until_signal)
        after = record.model_copy(update={"cursor": cursor.model_copy(update={"signals": tuple(signals)})})
        return leave(world.spec, after, "wait", now)
    wait = Wait(
        wait_id=f"{record.session_id}/timer-{cursor.serial}",
        kind="timer" if skill.until_signal is None else "signal",
        since_at=now,
        deadline_at=now + int(skill.seconds * 1000),
        signal=skill.until_signal,
        prompt=f"{skill.name}: {skill.seconds:g} s"
        + (f" or signal {skill.until_signal}" if skill.until_signal else ""),
    )
    return suspend(record, wait, "wait")


#: Asked again for every step, of the same few functions.
_is_async = lru_cache(maxsize=256)(iscoroutinefunction)


async def perform_compute(world: World, record: Record) -> Change:
    """Call the app's function; its keys go into the state, its `signal` chooses the route."""
    skill = cast("ComputeStep", current_skill(world.spec, record))
    function = world.app.load_function(skill.call)
    # A copy: what a function changes in place and does not return is no part of the session, nor of its journal.
    given = {key: value if type(value) in _SCALARS else _own(value) for key, value in record.state.items()}
    with world.watch.within(skill.timeout_seconds):
        if _is_async(function):
            made = await cast("Awaitable[object]", function(given))
        else:
            made = await asyncio.to_thread(function, given)
    if made is None:
        return leave(world.spec, record, "compute", world.now())
    if not isinstance(made, dict):
        raise AppCodeFailed(
            f"skill {skill.name}: {skill.call} returned {type(made).__name__}; return a mapping or None"
        )
    try:
        changed = _changes(record.state, made)
        signal = changed.pop("signal", None)
        state = {**record.state, **changed} if changed else record.state
        if changed:
            world.app.check_state(state)
    except (ToolError, ValueError) as error:
        raise AppCodeFailed(
            f"skill {skill.name}: {skill.call}: {error}; return what the state_schema allows"
        ) from error
    if record.cursor.failures:
        record = record.model_copy(update={"cursor": record.cursor.model_copy(update={"failures": 0})})
    return leave(world.spec, record, "compute", world.now(), signal if isinstance(signal, str) else None, state=state)


def _changes(before: JsonObject, made: dict[str, object]) -> JsonObject:
    """Return what a function really changes, as the next reader will see it; raise ValueError for what is no JSON.

    Through JSON and back: the next step must not see a set or a date where another worker would read a list or a text.
    """
    plain = cast("JsonObject", made if _is_plain(made) else load_json(dump_json(made)))
    return {
        key: value
        for key, value in plain.items()
        if key == "signal" or key not in before or not _is_same(before[key], value)
    }


#: Values that nobody can change in place, and that are after JSON what they were before.
_SCALARS = frozenset({str, int, bool, float, type(None)})


def _is_plain(made: dict[str, object]) -> bool:
    """Say whether what a function returned is surely what JSON would make of it; one loop, for every step asks it."""
    for key, value in made.items():
        kind = type(value)
        if kind is str:
            if not cast("str", value).isascii():  # others may hold what no JSON can
                return False
        elif kind not in _SCALARS or (kind is float and not isfinite(cast("float", value))):
            return False
        if type(key) is not str or not key.isascii():
            return False
    return True


def _own(value: JsonValue) -> JsonValue:
    """Return a value that may be changed in place without anybody else's changing."""
    return load_json(dump_json(value))


def _is_same(before: JsonValue, after: JsonValue) -> bool:
    """Say whether two values are the same JSON: 1, 1.0 and true are not."""
    if type(before) in _SCALARS or type(after) in _SCALARS:
        return type(before) is type(after) and before == after
    return dump_json(before) == dump_json(after)


async def enter_plain(world: World, record: Record) -> Change:
    """Begin a plain step."""
    skill = current_skill(world.spec, record)
    match skill:
        case ToolStep():
            return await enter_tool(world, record)
        case AskStep():
            return await enter_ask(world, record)
        case TimerStep():
            return await enter_timer(world, record)
        case _:
            raise AppCodeFailed(f"skill {skill.name}: {skill.kind} is no plain step; this is a defect, report it")
