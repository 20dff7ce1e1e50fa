"""What a hook may answer, and that nothing else is taken for an answer."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from orchestrator.contracts.errors import HookResultInvalid
from orchestrator.contracts.hook_result import CONTINUE, INVALID_RESPONSE, HookResult, parse_hook_result

FIELDS = [
    "action",
    "data",
    "reason",
    "context_injection",
    "context_injection_role",
    "ephemeral",
    "approval_prompt",
    "approval_options",
    "approval_timeout",
    "approval_default",
    "suppress_output",
    "user_message",
    "user_message_level",
    "user_message_source",
    "append_to_last_tool_result",
]


class Likeness(BaseModel):
    """A model of somebody else's with some of the fields."""

    action: str = "deny"
    reason: str = "mine"


def test_json_has_all_fifteen_keys_in_order() -> None:
    """Readers in other languages rely on every key being there."""
    assert list(json.loads(HookResult().to_json())) == FIELDS


def test_an_unknown_field_is_ignored_and_not_kept() -> None:
    """A hook written for a later version still works."""
    result = HookResult.model_validate({"action": "deny", "more": 1})

    assert not hasattr(result, "more")
    assert "more" not in json.loads(result.to_json())


def test_an_answer_cannot_be_changed() -> None:
    """What a hook answered is what is acted on."""
    with pytest.raises(ValidationError, match="frozen"):
        HookResult().action = "deny"  # type: ignore[misc]


@pytest.mark.parametrize("returned", [None, {}, {"more": 1}, {"data": None, "reason": None}, {1: 2}])
def test_saying_nothing_goes_on(returned: object) -> None:
    """Most hooks only watch."""
    assert parse_hook_result(returned) == CONTINUE


@pytest.mark.parametrize(
    ("returned", "field", "value"),
    [
        ({"approval_timeout": 5}, "approval_timeout", 5.0),
        ({"approval_timeout": -5}, "approval_timeout", -5.0),
        ({"approval_timeout": 10**30}, "approval_timeout", 1e30),
        ({"approval_options": ("a", "b")}, "approval_options", ["a", "b"]),
        ({"data": {1: 2}}, "data", {"1": 2}),
        ({"data": {"t": (1, Decimal("1.10"))}}, "data", {"t": [1, "1.10"]}),
        ({"reason": datetime(2030, 1, 2, tzinfo=UTC)}, "reason", "2030-01-02 00:00:00+00:00"),
        (HookResult(data={"at": datetime(2030, 1, 2, tzinfo=UTC)}), "data", {"at": "2030-01-02T00:00:00Z"}),
        (Likeness(), "action", "deny"),
        (Likeness(), "reason", "mine"),
    ],
)
def test_what_json_can_carry_is_read(returned: object, field: str, value: object) -> None:
    """JSON is the contract on every boundary, in one process too."""
    assert getattr(parse_hook_result(returned), field) == value


CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "returned",
    [
        True,
        False,
        0,
        5,
        1.5,
        "",
        "deny",
        b"",
        [],
        [1],
        (),
        set(),
        object(),
        {"action": "Deny"},
        {"action": "allow"},
        {"action": None},
        {"data": []},
        {"data": "x"},
        {"reason": 5},
        {"ephemeral": 1},
        {"ephemeral": "true"},
        {"ephemeral": None},
        {"suppress_output": 0},
        {"approval_timeout": "5"},
        {"approval_timeout": True},
        {"approval_timeout": None},
        {"approval_timeout": float("inf")},
        {"approval_options": ["a", 1]},
        {"approval_options": {"a"}},
        {"approval_default": "Allow"},
        {"context_injection_role": "developer"},
        {"context_injection_role": None},
        {"user_message_level": None},
        {"data": Likeness()},
        {"data": {"n": float("nan")}},
        {"more": float("nan")},
        {"reason": "\ud800"},
        {(1, 2): 3},
        {"data": CIRCLE},
        Likeness(action="Deny"),
        HookResult.model_construct(action="Deny"),
        HookResult.model_construct(ephemeral=1),
    ],
)
def test_everything_else_is_refused(returned: object) -> None:
    """Whoever reads a refused answer denies, so that a broken gate stays closed."""
    with pytest.raises(HookResultInvalid):
        parse_hook_result(returned)


def test_a_refusal_names_the_field_and_not_its_value() -> None:
    """The text goes to a log, and the value may be a secret."""
    with pytest.raises(HookResultInvalid, match=r"hook result: reason: .*valid string.*; return") as caught:
        parse_hook_result({"reason": ["hunter2"]})

    assert "hunter2" not in str(caught.value)


def test_the_answer_that_stands_for_an_unreadable_one_denies() -> None:
    """It is also what a log or a journal shows."""
    assert (INVALID_RESPONSE.action, INVALID_RESPONSE.reason) == ("deny", "Hook handler returned invalid response")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "more"]), json_values, max_size=4))
def test_a_mapping_is_read_as_its_json_is(returned: dict[str, Any]) -> None:
    """A hook in another process, whose answer comes as JSON, is judged the same."""
    try:
        expected: HookResult | None = HookResult.from_json(json.dumps(returned))
    except ValidationError:
        expected = None

    try:
        read: HookResult | None = parse_hook_result(returned)
    except HookResultInvalid:
        read = None

    assert read == expected


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4))
def test_what_was_read_survives_its_json(returned: dict[str, Any]) -> None:
    """An answer is carried between processes."""
    try:
        result = parse_hook_result(returned)
    except HookResultInvalid:
        return

    assert HookResult.from_json(result.to_json()) == result
    assert parse_hook_result(result) == result


def test_a_timeout_that_is_read_as_an_infinity_is_refused() -> None:
    """In JSON 1e999 is a number; read, it could not be written down again."""
    with pytest.raises(ValidationError, match="no finite number"):
        HookResult.from_json('{"action":"ask_user","approval_timeout":1e999}')
    assert HookResult(approval_timeout=float("inf")).approval_timeout == float("inf")
