"""How a successful call changes the state."""

import json

import pytest
from pydantic import JsonValue

from orchestrator.contracts.app import StateUpdate
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import StateUpdateRefused, ToolError
from orchestrator.kernel.updates import apply_updates


def update(op: str, source: str | None = "result.v") -> StateUpdate:
    """Build an update of the key `k`."""
    return StateUpdate.model_validate({"into": "k", "op": op, "from": source})


@pytest.mark.parametrize(
    ("op", "old", "value", "new"),
    [
        ("set", [1], 2, 2),
        ("set", 1, None, None),
        ("set", 1, "", ""),
        ("append", [1], [2], [1, [2]]),
        ("append", None, 0, [0]),
        ("extend", [1], [2, 3], [1, 2, 3]),
        ("extend", [1], [], [1]),
        ("merge", {"a": 1, "b": {"x": 1}}, {"b": {"y": 2}}, {"a": 1, "b": {"y": 2}}),
        ("merge", None, {"a": 1}, {"a": 1}),
        ("add", 1, 2.5, 3.5),
        ("add", None, -2, -2),
        ("append", [1], None, [1]),
        ("add", 1, None, 1),
    ],
)
def test_an_operation_combines_old_and_new(op: str, old: JsonValue, value: JsonValue, new: JsonValue) -> None:
    """Apps describe their bookkeeping in these five words."""
    assert apply_updates({"k": old, "other": 1}, [update(op)], {}, {"v": value}) == {"k": new, "other": 1}


def test_a_key_that_the_state_lacks_begins_empty() -> None:
    """An app need not declare an empty list before it appends to it."""
    state = apply_updates({}, [update("append", "args.x"), update("append", "args.y")], {"x": 1, "y": 2}, None)

    assert state == {"k": [1, 2]}


def test_a_value_that_is_not_there_changes_nothing() -> None:
    """Tools may leave optional fields out."""
    state: JsonObject = {"k": 1}

    assert apply_updates(state, [update("set", "result.gone"), update("set", "team")], {}, {"v": 2}) is state


@pytest.mark.parametrize(
    ("op", "result", "new"),
    [
        ("set", '{"a": 1}', '{"a": 1}'),
        ("append", "[1]", ["[1]"]),
        ("merge", '{"a": 1}', {"a": 1}),
        ("extend", "[1]", [1]),
        ("set", None, None),
        ("set", {"a": 1}, {"a": 1}),
    ],
)
def test_a_whole_text_is_parsed_only_where_text_will_not_do(op: str, result: JsonValue, new: JsonValue) -> None:
    """A document that happens to be JSON must not change its type on the way into the state."""
    assert apply_updates({}, [update(op, None)], {}, result) == {"k": new}


@pytest.mark.parametrize(
    ("op", "old", "value", "said"),
    [
        ("append", {"a": 1}, 1, "the state holds a mapping where a list is needed"),
        ("extend", [], "text", "the call gave text where a list is needed"),
        ("extend", "text", [], "the state holds text"),
        ("merge", {}, [1], "the call gave a list where a mapping is needed"),
        ("merge", 1, {}, "the state holds a number"),
        ("add", 1, "2", "the call gave text where a finite number is needed"),
        ("add", 1, True, "the call gave a boolean"),
        ("add", 0.5, 10**400, "the sum is a number"),
        ("add", 1e308, 1e308, "the sum is a number where a finite number is needed"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(op: str, old: JsonValue, value: JsonValue, said: str) -> None:
    """A state that lost its type would fail later, where nobody knows why."""
    with pytest.raises(StateUpdateRefused, match=f"state update {op} into 'k': {said}") as caught:
        apply_updates({"k": old}, [update(op)], {}, {"v": value})

    assert isinstance(caught.value, ToolError)


def test_the_old_state_is_left_alone_and_shared() -> None:
    """Another step may still hold the old state; what did not change costs nothing."""
    state: JsonObject = {"k": [1], "big": {"x": [1, 2]}}
    before = json.dumps(state)

    after = apply_updates(state, [update("append", "result.v")], {}, {"v": 2})

    assert json.dumps(state) == before
    assert after["big"] is state["big"]
