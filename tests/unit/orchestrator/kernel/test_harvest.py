"""What counts as a confidence, a signal, a rationale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from orchestrator.contracts.session import Cursor
from orchestrator.kernel.harvest import Harvest, coerce_confidence, coerce_rationale, coerce_signal


@pytest.mark.parametrize(
    ("value", "confidence"),
    [
        (0.42, 0.42),
        (1, 1.0),
        (0, 0.0),
        (1.5, 1.0),
        (-3, 0.0),
        (10**400, 1.0),
        (float("inf"), 1.0),
        (float("nan"), None),
        ("HIGH", 0.9),
        (" medium ", 0.6),
        ("low", 0.3),
        ("0.9", None),
        ("", None),
        (True, None),
        (False, None),
        (None, None),
        ([0.9], None),
        ({"v": 0.9}, None),
    ],
)
def test_a_confidence_is_a_number_or_one_of_three_words(value: JsonValue, confidence: float | None) -> None:
    """A gate stops on what is not a confidence, so that guessing here would open it."""
    assert coerce_confidence(value) == confidence


@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none()))
def test_a_confidence_is_never_outside_its_range(value: JsonValue) -> None:
    """Whatever a model writes, a threshold can be compared with it."""
    confidence = coerce_confidence(value)

    assert confidence is None or 0.0 <= confidence <= 1.0


@pytest.mark.parametrize(
    ("value", "signal"),
    [
        (" Success ", "success"),
        ("NEEDS_INPUT", "Needs_Input"),
        ("unknown", None),
        ("", None),
        (True, None),
        (None, None),
    ],
)
def test_a_signal_is_a_word_of_the_vocabulary(value: JsonValue, signal: str | None) -> None:
    """It comes back as declared, because routes compare it exactly."""
    assert coerce_signal(value, ("success", "Needs_Input")) == signal


@pytest.mark.parametrize(("value", "rationale"), [("why", "why"), ("  ", None), ("", None), (3, None), (None, None)])
def test_a_rationale_says_something(value: JsonValue, rationale: str | None) -> None:
    """A blank rationale must not replace one that was given."""
    assert coerce_rationale(value) == rationale


def test_a_harvest_goes_into_a_cursor_and_back() -> None:
    """Its fields are the cursor's, so that nothing is copied name by name."""
    seen = Harvest(confidence=0.5, rationale="why", signal="failed", locked=True)

    assert Harvest.of(Cursor(skill="look").model_copy(update=seen.model_dump())) == seen
