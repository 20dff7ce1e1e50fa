"""What may be written down."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.kernel.redaction import (
    REDACTED,
    SENSITIVE_KEYS,
    redact_secrets,
    truncate_for_log,
    truncate_values,
)

values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.sampled_from(sorted(SENSITIVE_KEYS)) | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("key", [*sorted(SENSITIVE_KEYS), "Api_Key", "PASSWORD", "apiKey", "Authorization"])
@pytest.mark.parametrize("value", ["x", None, "", 0, ["a"], {"a": 1}])
def test_the_whole_value_under_a_sensitive_key_is_replaced(key: str, value: object) -> None:
    """A part of a secret, or that it is missing, tells too."""
    assert redact_secrets({"in": [{key: value}]}) == {"in": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "key", ["my_token", "tokens", "max_tokens", "x-api-key", " token", "private-key", "api key", 1]
)
def test_a_key_that_is_not_exactly_sensitive_is_left_alone(key: Any) -> None:
    """Counts of tokens have to be readable."""
    assert redact_secrets({key: 5}) == {key: 5}


@pytest.mark.parametrize("value", ["password", 5, None, ("a", {"token": 1}), {"s": ({"token": 1},)}])
def test_other_kinds_of_values_stay_as_they_are(value: object) -> None:
    """Only mappings and lists are looked into."""
    assert redact_secrets(value) == value


def test_other_keys_can_be_named() -> None:
    """A module may know more names of secrets."""
    assert redact_secrets({"pin": 1, "token": 2}, {"pin"}) == {"pin": REDACTED, "token": 2}


@settings(deadline=None)
@given(values)
def test_redacting_leaves_the_original_and_is_done_once(value: Any) -> None:
    """The configuration itself must keep working."""
    before = repr(value)

    once = redact_secrets(value)

    assert repr(value) == before
    assert redact_secrets(once) == once


def test_a_copy_shares_no_container() -> None:
    """Whoever changes what he was shown changes nothing else."""
    value: dict[str, Any] = {"a": [1]}

    assert redact_secrets(value)["a"] is not value["a"]
    assert truncate_values(value)["a"] is not value["a"]


@pytest.mark.parametrize(
    ("value", "out"),
    [
        ("x" * 180, "x" * 180),
        ("x" * 181, "x" * 180 + "... (truncated 1 chars)"),
        (["x" * 200], ["x" * 180 + "... (truncated 20 chars)"]),
        ({"k" * 200: "😀" * 181}, {"k" * 200: "😀" * 180 + "... (truncated 1 chars)"}),
        (("x" * 200,), ("x" * 200,)),
        (b"x" * 200, b"x" * 200),
        (5, 5),
        (None, None),
    ],
)
def test_long_texts_are_cut_and_say_so(value: object, out: object) -> None:
    """Lengths are in code points, and keys stay whole."""
    assert truncate_values(value) == out


@settings(deadline=None)
@given(st.text(), st.integers(min_value=0, max_value=50))
def test_a_text_for_a_log_is_whole_or_marked(text: str, limit: int) -> None:
    """A reader sees whether he sees all of it."""
    shown = truncate_for_log(text, limit)

    assert shown == (text if len(text) <= limit else text[:limit] + "...[truncated]")
