"""Apply a successful tool call's declared updates to a session's state.

An app says in YAML what of a result goes where (`tools.NAME.updates`); the tool itself never
writes state, so that the change is part of the commit that records the call. Whether the new state
fits the app's schema and its size limit is checked by the one who commits it. Pure: the old state
is left untouched, and what does not change is shared with the new one.
"""

import math
from collections.abc import Sequence
from typing import assert_never

from pydantic import JsonValue

from orchestrator.contracts.app import StateUpdate
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import StateUpdateRefused
from orchestrator.kernel.lookup import MISSING, Found, parse_result, read_lookup


def apply_updates(state: JsonObject, updates: Sequence[StateUpdate], args: JsonObject, result: JsonValue) -> JsonObject:
    """Return the state after a call's updates, in their order; all of them or, on an error, none.

    A lookup that finds nothing changes nothing: tools may leave fields out. Null is set, and adds
    nothing otherwise. A key that the state lacks, or that is null, begins empty (0 for `add`).
    Raises StateUpdateRefused where a value does not fit what the operation needs.
    """
    for update in updates:
        value = _read(update, args, result)
        if value is MISSING or (value is None and update.op != "set"):
            continue
        state = {**state, update.into: _combine(update, state.get(update.into), value)}
    return state


def _read(update: StateUpdate, args: JsonObject, result: JsonValue) -> Found:
    """Return what an update takes: the value at its lookup, or the whole result.

    A whole result that is text stays text where text will do: a document that happens to be JSON
    must not change its type. `extend` and `merge` need what the text says.
    """
    if update.source is not None:
        return read_lookup(update.source, args, result)
    return parse_result(result) if update.op in ("extend", "merge") else result


def _combine(update: StateUpdate, old: JsonValue, value: JsonValue) -> JsonValue:
    match update.op:
        case "set":
            return value
        case "append":
            return [*_as_list(update, old, "the state holds"), value]
        case "extend":
            return [*_as_list(update, old, "the state holds"), *_as_list(update, value, "the call gave")]
        case "merge":
            return {**_as_mapping(update, old, "the state holds"), **_as_mapping(update, value, "the call gave")}
        case "add":
            return _sum(update, _as_number(update, old, "the state holds"), _as_number(update, value, "the call gave"))
        case _:
            assert_never(update.op)


def _sum(update: StateUpdate, old: float, value: float) -> JsonValue:
    """Add; JSON has no infinity, and an int may be too large to be added to a float."""
    try:
        total = old + value
    except OverflowError:
        total = math.inf
    return _as_number(update, total, "the sum is")


def _as_list(update: StateUpdate, value: JsonValue, whose: str) -> list[JsonValue]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _refuse(update, whose, value, "a list")
    return value


def _as_mapping(update: StateUpdate, value: JsonValue, whose: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refuse(update, whose, value, "a mapping")
    return value


def _as_number(update: StateUpdate, value: JsonValue, whose: str) -> int | float:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(update, whose, value, "a finite number")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refuse(update, whose, value, "a finite number")
    return value


def _refuse(update: StateUpdate, whose: str, value: JsonValue, needed: str) -> StateUpdateRefused:
    return StateUpdateRefused(update.into, update.op, f"{whose} {_describe(value)} where {needed} is needed")


def _describe(value: JsonValue) -> str:
    """Name a value's JSON type; the value itself may be long or private."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "null")
