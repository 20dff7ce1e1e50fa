"""Calls whose outcome a crash hid: who decides, and what is written of it."""

from functools import cache

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.session import Cursor, PendingCall, Record
from orchestrator.kernel.calls import Announce, Ask, End, Run, plan_calls
from tests.stage import EVERYTHING


@cache
def spec() -> AppSpec:
    """Return the test app."""
    return load_app(EVERYTHING, import_code=False)


def plan(tool: str, *, announced: bool = False, **parts: object) -> object:
    """Plan a call that was announced, by this claim or by an earlier one."""
    call = PendingCall.model_validate({"call_id": "c", "tool": f"hands:{tool}", **parts})
    cursor = Cursor(skill="start", stage="tools", calls=(call,))
    record = Record(session_id="S-1", app="everything", spec="d", phase="running", cursor=cursor)
    return plan_calls(spec(), record, {"c": call}, {"c"} if announced else (), 5)


@pytest.mark.parametrize(
    ("tool", "parts", "expected"),
    [
        ("strike", {}, Ask),
        ("strike", {"resolution": "retry"}, Announce),
        ("strike", {"resolution": "happened"}, End),
        ("strike", {"resolution": "failed"}, End),
        ("strike", {"announced": True}, Run),
        ("strike_again", {}, Announce),
        ("strike_never", {}, End),
        ("put", {"effect": "idempotent"}, Announce),
    ],
)
def test_a_call_of_which_nobody_knows_is_never_made_again_unasked(
    tool: str, parts: dict[str, object], expected: type
) -> None:
    """Only what may be repeated, or what somebody or the app said to repeat, is."""
    assert isinstance(plan(tool, **parts), expected)  # type: ignore[arg-type]


def test_what_a_person_found_out_is_the_calls_result() -> None:
    """In the person's words, or in ours where there are none."""
    told, silent = (plan("strike", resolution="happened", rationale=words) for words in ("I saw it", None))

    assert isinstance(told, End)
    assert isinstance(silent, End)
    assert told.ended[0].result == {"happened": True, "note": "I saw it"}
    assert silent.ended[0].result == {"happened": True, "note": "a person found that it was done"}
