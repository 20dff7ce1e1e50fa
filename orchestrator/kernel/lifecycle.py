"""What a session's life says to its hooks, and with which status a run leaves it.

    session:start or session:resume   before the first run      session:config   before each, where `raw` asks for it
    session:fork                      a child is ready          cancel:completed after a run that was asked to stop
    session:end                       it is over

Fork, start, resume and end are said once per session, however many processes hold it in turn: who keeps
the session keeps the names that were said. Pure; saying them is the work of `live/session.py` here
and of the workers elsewhere.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from orchestrator.contracts.event_names import SESSION_RESUME, SESSION_START
from orchestrator.contracts.failures import to_record
from orchestrator.kernel.redaction import redact_secrets

RunStatus: TypeAlias = Literal["running", "completed", "failed", "cancelled"]
Payload: TypeAlias = dict[str, Any]

NOT_INITIALIZED: Final = "Session not initialized. Call initialize() first."


def choose_status(error: BaseException | None, *, is_cancelled: bool) -> RunStatus:
    """Return the status after a run that raised `error` or nothing; `is_cancelled`: it was asked to stop.

    Being asked to stop counts more than how it came to its end.

    >>> choose_status(ValueError(), is_cancelled=True), choose_status(ValueError(), is_cancelled=False)
    ('cancelled', 'failed')
    """
    if is_cancelled or isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "completed" if error is None else "failed"


def describe_error(error: BaseException) -> Payload:
    """Return what a status keeps of an error: its record (`contracts/failures.py`), with `message` in any case."""
    record = to_record(error)
    return {"message": record.message, **record.to_data()}


def choose_start_event(*, is_resumed: bool) -> str:
    """Return what the first run is announced as."""
    return SESSION_RESUME if is_resumed else SESSION_START


def start_payload(session_id: str, parent_id: str | None, plan: Mapping[str, Any]) -> Payload:
    """Return what session:start and session:resume tell: the ids, and metadata where the plan has some."""
    return {"session_id": session_id, "parent_id": parent_id, **_metadata(plan)}


def fork_payload(session_id: str, parent_id: str, plan: Mapping[str, Any]) -> Payload:
    """Return what session:fork tells: who came from whom, metadata, and the plan where it asks for that."""
    raw = {"raw": redact_secrets(dict(plan))} if wants_raw(plan) else {}
    return {"parent": parent_id, "session_id": session_id, **_metadata(plan), **raw}


def config_payload(session_id: str, plan: Mapping[str, Any]) -> Payload:
    """Return what session:config tells: the whole plan without its secrets."""
    return {"session_id": session_id, "raw": redact_secrets(dict(plan))}


def end_payload(session_id: str, status: str) -> Payload:
    """Return what session:end tells."""
    return {"session_id": session_id, "status": status}


def cancelled_payload(error: BaseException | None, *, was_immediate: bool) -> Payload:
    """Return what cancel:completed tells: how it was asked, and the error if the run raised one."""
    failure = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
    return {"was_immediate": was_immediate, **failure}


def wants_raw(plan: Mapping[str, Any]) -> bool:
    """Say whether a plan asks to be shown to its hooks."""
    return bool(plan["session"].get("raw"))


def fork_id(parent_id: str, suffix: str) -> str:
    """Return the id of a child, from which its parent can be read.

    >>> fork_id("S-1", "review")
    'S-1-review'
    """
    return f"{parent_id}-{suffix}"


def _metadata(plan: Mapping[str, Any]) -> Payload:
    metadata = plan["session"].get("metadata")
    return {"metadata": metadata} if metadata else {}
