"""When a session forgets how a try of its step failed, and what the id of a question names."""

import pytest

from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.session import Cursor, PendingCall, Record, Wait, WaitKind
from orchestrator.kernel.change import Change, forget_failure, suspend
from orchestrator.store.leases import Directive

FAILURE = FailureRecord(error="RateLimitError", message="slow down")


def change(failures: int, directive: Directive, failure: FailureRecord | None = FAILURE) -> Change:
    """Return a change of a session with so many failed tries."""
    cursor = Cursor(skill="work", failures=failures)
    record = Record(session_id="S-1", app="a", spec="d", phase="running", cursor=cursor, failure=failure)
    return Change(record=record, step="wait", directive=directive)


@pytest.mark.parametrize("directive", ["continue", "ready", "waiting", "finalizing", "ended"])
def test_a_step_that_is_done_leaves_no_failure(directive: Directive) -> None:
    """What went wrong on the way is in the journal."""
    assert forget_failure(change(0, directive)).record.failure is None


@pytest.mark.parametrize("directive", ["continue", "ready", "waiting", "dead"])
def test_a_step_that_is_still_tried_keeps_its_failure(directive: Directive) -> None:
    """A session that waits for its next try, or is handed to another worker in between."""
    assert forget_failure(change(1, directive)).record.failure is FAILURE


@pytest.mark.parametrize("directive", ["finalizing", "ended"])
def test_the_end_forgets_it_in_any_case(directive: Directive) -> None:
    """A session that was cancelled between two tries has come to its end, not failed."""
    assert forget_failure(change(1, directive)).record.failure is None


def test_a_dead_letter_keeps_it_from_the_first_try_on() -> None:
    """It is why the session is dead."""
    assert forget_failure(change(0, "dead")).record.failure is FAILURE


def test_a_change_without_a_failure_is_the_same_change() -> None:
    """It is asked of every step and must cost nothing."""
    usual = change(0, "continue", None)

    assert forget_failure(usual) is usual


CALL = PendingCall(call_id="c", tool="hands:strike", args={"target": "x"})
ASKED = Wait(wait_id="S-1/approve-c", kind="approval", since_at=5, deadline_at=9, call=CALL, digest="d")


def asked_as(wait: Wait, serial: int = 3) -> str:
    """Return the id under which a session asks this in its step of that number."""
    cursor = Cursor(skill="work", serial=serial)
    after = suspend(Record(session_id="S-1", app="a", spec="d", phase="running", cursor=cursor), wait, "wait").record
    assert after.wait is not None
    return after.wait.wait_id


@pytest.mark.parametrize("kind", ["approval", "input", "uncertain"])
def test_a_question_is_another_one_each_time_it_is_asked(kind: WaitKind) -> None:
    """Whoever saw it before a retry has not looked at what came of the retry."""
    wait = ASKED.model_copy(update={"kind": kind})

    assert asked_as(wait, 3).startswith("S-1/approve-c-")
    assert asked_as(wait, 3) != asked_as(wait, 4)


@pytest.mark.parametrize(
    "other",
    [
        {"call": CALL.model_copy(update={"args": {"target": "y"}})},
        {"prompt": "else"},
        {"options": ("a",)},
        {"kind": "input"},
        {"target": "rest"},
    ],
)
def test_another_question_in_the_same_step_is_another_one(other: dict[str, object]) -> None:
    """A store that lost its last moments counts the same steps again, and its session may ask something else."""
    assert asked_as(ASKED) != asked_as(ASKED.model_copy(update=other))


@pytest.mark.parametrize("other", [{"since_at": 6}, {"deadline_at": 99}, {"trace": "00-1-2-01"}])
def test_the_same_question_in_the_same_step_is_the_same_one(other: dict[str, object]) -> None:
    """A worker that died before its commit was told to nobody: the next one asks what was asked."""
    assert asked_as(ASKED) == asked_as(ASKED.model_copy(update=other))


def test_a_wait_that_no_person_ends_keeps_its_name() -> None:
    """Nobody has looked at it."""
    assert asked_as(ASKED.model_copy(update={"kind": "timer"})) == "S-1/approve-c"


@pytest.mark.parametrize("more", [0, 1, 300])
def test_a_question_has_an_id_that_every_door_takes(more: int) -> None:
    """A model may call its calls what it likes; the API takes 200 characters."""
    long = ASKED.model_copy(update={"wait_id": "S-1/approve-" + "c" * (138 + more)})

    assert len(asked_as(long)) == 159
    assert asked_as(long) != asked_as(long.model_copy(update={"prompt": "else"}))
