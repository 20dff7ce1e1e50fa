"""When a session forgets how a try of its step failed."""

import pytest

from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.session import Cursor, Record
from orchestrator.kernel.change import Change, forget_failure
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
