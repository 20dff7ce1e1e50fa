"""What errors say: where, what, and what to do; and what their catcher can ask them."""

import pytest

from orchestrator.contracts.errors import (
    AppInvalid,
    BatonError,
    KeyConflict,
    PayloadTooLarge,
    SourceInvalid,
    ToolNeedsInput,
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AppInvalid("demo", ["a.yaml:1:1: x: y", "a.yaml:2:1: z: y"]), "a.yaml:1:1: x: y\na.yaml:2:1: z: y"),
        (SourceInvalid(iter(["a.yaml:1:1: x: y"])), "a.yaml:1:1: x: y"),  # type: ignore[arg-type]
        (
            PayloadTooLarge("text", 12, 10, unit="characters"),
            "text: 12 characters, over the limit of 10; make it smaller or raise the limit in config/runtime.yaml",
        ),
        (
            KeyConflict("k1", "S-1"),
            "idempotency key 'k1': already used by S-1 for a different request; use a new key",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BatonError) else "",
)
def test_an_error_says_where_what_and_what_to_do(error: BatonError, said: str) -> None:
    """Its reader has nothing else to go by."""
    assert str(error) == said


def test_an_error_can_be_asked_for_what_its_catcher_needs() -> None:
    """Nobody reads its text to learn what went wrong."""
    too_large, conflict = PayloadTooLarge("text", 12, 10), KeyConflict("k1", "S-1")

    assert (too_large.what, too_large.size, too_large.limit) == ("text", 12, 10)
    assert (conflict.key, conflict.session_id) == ("k1", "S-1")
    assert SourceInvalid(["a", "b"]).problems == ("a", "b")


def test_what_a_tool_asks_is_its_callers_own_copy() -> None:
    """The server's answer may be read on while the question waits for a person."""
    requests: dict[str, object] = {"form": {"message": "Which?"}}
    asked = ToolNeedsInput("desk:book: it asks", requests=requests, request_state="s")
    requests.clear()

    assert (asked.requests, asked.request_state) == ({"form": {"message": "Which?"}}, "s")
    assert ToolNeedsInput("desk:book: it asks", requests={}).request_state is None
