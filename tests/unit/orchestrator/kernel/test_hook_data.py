"""What the handlers of an event are given."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts.errors import EventDataInvalid
from orchestrator.kernel.hook_data import complete_data, decode_data, encode_data, format_time

AT = datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE
DEEP: dict[str, Any] = {}
for _ in range(300):
    DEEP = {"in": DEEP}


def test_a_caller_overrides_defaults_and_never_the_time() -> None:
    """Who emits knows better than the session, but not when it is."""
    data = complete_data({"a": 1, "timestamp": "mine"}, {"a": 0, "session_id": "S", "timestamp": "theirs"}, AT)

    assert data == {"a": 1, "session_id": "S", "timestamp": "2030-01-02T03:04:05.000006+00:00"}


@pytest.mark.parametrize("data", [None, [1], "x", 5])
def test_data_that_is_no_mapping_is_given_as_it_is(data: object) -> None:
    """There is no place in it for fields."""
    assert complete_data(data, {"session_id": "S"}, AT) is data


def test_a_whole_second_is_written_like_any_other() -> None:
    """Times are compared as texts, so that all have the same length."""
    assert len(format_time(AT.replace(microsecond=0))) == len(format_time(AT))


def test_what_json_cannot_hold_is_given_as_its_text() -> None:
    """A handler never meets a live object of somebody else's."""
    data = {"at": AT, "cost": Decimal("1.50"), "pair": (1, 2), "set": {1}, 1: "one", None: "none"}

    assert decode_data("e", encode_data("e", data)) == {
        "at": "2030-01-02 03:04:05.000006+00:00",
        "cost": "1.50",
        "pair": [1, 2],
        "set": "{1}",
        "1": "one",
        "null": "none",
    }


@pytest.mark.parametrize("data", [{"n": float("nan")}, {"n": float("inf")}, {(1, 2): 3}, {"s": "\ud800"}, CIRCLE, DEEP])
def test_what_has_no_json_is_refused_by_the_name_of_its_event(data: object) -> None:
    """A handler that gets less than was sent would judge something else."""
    with pytest.raises(EventDataInvalid, match="event 'tool:pre': data is not JSON"):
        decode_data("tool:pre", encode_data("tool:pre", data))


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_plain_json_is_given_exactly(data: Any) -> None:
    """Great numbers and every script included."""
    assert decode_data("e", encode_data("e", data)) == data
