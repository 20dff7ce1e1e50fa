"""What a session's life says, and with which status a run leaves it."""

import asyncio
from typing import Any

import pytest

from orchestrator.contracts.failures import FailureRecord, from_record
from orchestrator.contracts.provider_errors import RateLimitError
from orchestrator.kernel import lifecycle
from orchestrator.kernel.lifecycle import choose_status

BARE: dict[str, Any] = {"session": {}}
RICH: dict[str, Any] = {
    "session": {"metadata": {"team": "blue"}, "raw": True},
    "providers": [{"module": "p", "config": {"api_key": "k"}}],
}
SAFE = {**RICH, "providers": [{"module": "p", "config": {"api_key": "[REDACTED]"}}]}


@pytest.mark.parametrize(
    ("error", "is_cancelled", "status"),
    [
        (None, False, "completed"),
        (None, True, "cancelled"),
        (ValueError(), False, "failed"),
        (ValueError(), True, "cancelled"),
        (asyncio.CancelledError(), False, "cancelled"),
        (KeyboardInterrupt(), False, "failed"),
    ],
    ids=repr,
)
def test_a_run_ends_with_a_status(error: BaseException | None, is_cancelled: bool, status: str) -> None:
    """Stopped on request and failed are different things to whoever looks later."""
    assert choose_status(error, is_cancelled=is_cancelled) == status


def test_a_start_tells_the_ids_and_metadata_only_where_there_is_some() -> None:
    """A hook need not ask whether the key is empty."""
    ids = {"session_id": "S-1", "parent_id": None}

    assert lifecycle.start_payload("S-1", None, BARE) == ids
    assert lifecycle.start_payload("S-1", None, RICH) == {**ids, "metadata": {"team": "blue"}}
    assert lifecycle.start_payload("S-1", None, {"session": {"metadata": {}}}) == ids


def test_a_fork_tells_its_parent_and_the_plan_only_where_asked() -> None:
    """A plan can be large, and holds secrets."""
    ids = {"parent": "S-0", "session_id": "S-1"}

    assert lifecycle.fork_payload("S-1", "S-0", BARE) == ids
    assert lifecycle.fork_payload("S-1", "S-0", RICH) == {**ids, "metadata": {"team": "blue"}, "raw": SAFE}


def test_the_plan_is_told_without_its_secrets() -> None:
    """Hooks write what they hear into files."""
    assert lifecycle.config_payload("S-1", RICH) == {"session_id": "S-1", "raw": SAFE}


def test_the_end_of_a_cancelled_run_tells_how_and_what_it_raised() -> None:
    """An error while stopping is told by its type as well: the message alone is often empty."""
    assert lifecycle.cancelled_payload(None, was_immediate=True) == {"was_immediate": True}
    assert lifecycle.cancelled_payload(OSError("gone"), was_immediate=False) == {
        "was_immediate": False,
        "error": "OSError: gone",
    }


def test_an_error_is_kept_so_that_its_type_comes_back() -> None:
    """A status is read where the exception is long gone; there is a message in any case."""
    kept = lifecycle.describe_error(RateLimitError("slow down", retry_after=7.0))

    assert kept["message"] == "slow down"
    assert repr(from_record(FailureRecord.model_validate(kept))) == repr(RateLimitError("slow down", retry_after=7.0))
    assert lifecycle.describe_error(KeyError())["message"] == ""


def test_what_is_announced_first_depends_on_what_went_before() -> None:
    """A session that goes on does not start."""
    assert [lifecycle.choose_start_event(is_resumed=is_resumed) for is_resumed in (False, True)] == [
        "session:start",
        "session:resume",
    ]
