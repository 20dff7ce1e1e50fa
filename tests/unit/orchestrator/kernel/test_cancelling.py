"""Which cancel stops which step, and what a stopped session says of its open calls."""

from functools import cache

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.session import Cursor, PendingCall, Record, Wait
from orchestrator.kernel.cancelling import _close, end_stopped, may_stop, stopped, stops_for
from tests.stage import EVERYTHING


@cache
def spec() -> AppSpec:
    """Return the test app."""
    return load_app(EVERYTHING, import_code=False)


def session(phase: str = "running", wait: Wait | None = None, **cursor: object) -> Record:
    """Return a session somewhere in the app."""
    at = Cursor.model_validate({"skill": "start", **cursor})
    return Record(session_id="S-1", app="everything", spec="d", phase=phase, cursor=at, wait=wait)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "mildest"),
    [
        (session("finalizing", stage="tools"), "never"),
        (session(stage="tools"), "immediate"),
        (session(skill="gone", stage="model"), "graceful"),
        (session(skill="fan", stage="enter"), "never"),
        (session(skill="fan", stage="route"), "graceful"),
        (session(skill="pick", stage="enter"), "graceful"),
        (session(skill="watch", stage="model"), "never"),
        (session(skill="watch", stage="enter"), "graceful"),
        (session(skill="watch", stage="model", wait=Wait(wait_id="w", kind="timer")), "graceful"),
        (session(stage="model"), "graceful"),
    ],
)
def test_the_mildest_cancel_that_stops_a_step(record: Record, mildest: str) -> None:
    """What must be whole is not stopped in its middle; what may take long is."""
    assert stops_for(spec(), record) == mildest


@pytest.mark.parametrize(
    ("record", "graceful", "immediate"),
    [
        (session(), True, True),
        (session(stop="escalated"), False, True),
        (session(stop="stopped"), False, False),
        (session(stage="end"), False, False),
        (session("finalizing"), False, False),
    ],
)
def test_what_a_cancel_may_end(record: Record, graceful: bool, immediate: bool) -> None:
    """What is at its end is not cancelled; what goes to a team only at once."""
    assert (may_stop(record, immediate=False), may_stop(record, immediate=True)) == (graceful, immediate)


def test_being_asked_to_stop_at_once_is_remembered() -> None:
    """A milder stop afterwards takes nothing back."""
    at_once = stopped(session(wait=Wait(wait_id="w", kind="timer")), "cancelled", "why", immediate=True)

    assert (at_once.cancel_immediate, at_once.wait, at_once.cursor.stage) == (True, None, "end")
    assert stopped(at_once, "cancelled", "why").cancel_immediate
    assert not stopped(session(), "cancelled", "why").cancel_immediate


def test_every_open_call_gets_a_result_that_says_what_is_known() -> None:
    """Begun is what this claim made, and what an earlier one announced: of the rest nothing has happened."""
    calls = [PendingCall(call_id=name, tool="t", effect="read_only" if name == "read" else "effectful") for name in
             ("made", "read", "announced", "before", "never")]  # fmt: skip
    record = stopped(session(stage="tools", calls=[one.model_dump() for one in calls]), "cancelled", "why")
    intents = {one.call_id: one for one in calls if one.call_id in {"made", "announced", "before"}}
    change = end_stopped(record, intents, announced={"made", "announced"}, begun={"made", "read"}, last_words={"x": 1})

    said = {one.call_id: one.result for one in change.calls}
    assert {name: isinstance(one, dict) and one["begun"] for name, one in said.items()} == {
        "made": True, "read": True, "announced": False, "before": True, "never": False,
    }  # fmt: skip
    assert "unknown" in str(said["made"])
    assert "not waited for" in str(said["read"])
    assert "before this call was made" in str(said["never"])
    assert change.cleared == ("announced",)
    assert (change.outcome, change.data["x"], change.data["was_immediate"]) == ("cancelled", 1, False)
    plain = end_stopped(stopped(session(), "stopped", "why"), {}, (), ())
    assert (plain.outcome, "event" in plain.data) == ("succeeded", False)


@pytest.mark.parametrize(
    ("effect", "begun", "said"),
    [
        ("effectful", False, "hands:strike: the session was stopped before this call was made"),
        ("effectful", True, "hands:strike: the session was stopped while this call ran; whether it acted is unknown"),
        ("read_only", True, "hands:strike: the session was stopped while this call ran; its result was not waited for"),
    ],
)
def test_an_open_call_ends_as_cancelled_and_says_whether_it_was_begun(effect: str, begun: bool, said: str) -> None:
    """A person who looks later sees what may have happened outside."""
    call = PendingCall.model_validate({"call_id": "c", "tool": "hands:strike", "effect": effect, "args": {"n": 1}})
    ended = _close(session(calls=(call,)), call, is_begun=begun)

    assert (ended.call_id, ended.args, ended.outcome, ended.skill) == ("c", {"n": 1}, "cancelled", "start")
    assert ended.result == {"cancelled": True, "begun": begun, "error": said}
