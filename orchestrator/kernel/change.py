"""What one step decided: the session as it will be, and what goes with it into the commit.

Steps return a Change; the executor writes it. Nothing here says how it is stored.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal, NamedTuple, TypeAlias

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Outcome, PendingCall, Record, StepKind, ToolCall, Wait

Directive: TypeAlias = Literal["continue", "waiting", "finalizing", "ended", "dead"]

#: Waits that a person ends, and what of them is not what is asked.
_QUESTIONS: Final = frozenset({"approval", "input", "uncertain"})
_NOT_ASKED: Final = {"wait_id", "since_at", "deadline_at", "trace"}
#: How much of a name is kept before that part; a model may call its calls what it likes, and ids of waits are given by hand.
_NAME_CHARS: Final = 150


class Change(NamedTuple):
    """One step's decision. A tuple, because every step makes one and a frozen dataclass takes five times as long.

    `record` carries the new cursor, state, wait and terminal call. `intents` are announced before
    they act, `cleared` have an outcome now. `status`, `reason` and `detail` go with an end. `counters` are added to the
    store's own, in the same commit.
    """

    record: Record
    step: StepKind
    directive: Directive = "continue"
    outcome: Outcome = "succeeded"
    messages: tuple[Message, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    intents: tuple[PendingCall, ...] = ()
    cleared: tuple[str, ...] = ()
    status: str = ""
    reason: str = ""
    detail: str = ""
    data: JsonObject = {}
    counters: Mapping[str, int] = {}


def forget_failure(change: Change) -> Change:
    """Return a change without the failure of earlier tries, once the step is done or the session comes to its end."""
    record = change.record
    is_open = record.cursor.failures > 0 and change.directive not in {"finalizing", "ended"}
    if record.failure is None or is_open or change.directive == "dead":
        return change
    return change._replace(record=record.model_copy(update={"failure": None}))


def move(record: Record, cursor: Cursor) -> Record:
    """Return the record at another cursor, one step further."""
    return record.model_copy(update={"cursor": cursor.model_copy(update={"serial": record.cursor.serial + 1})})


def suspend(
    record: Record, wait: Wait, step: StepKind, *, cursor: Cursor | None = None, data: JsonObject | None = None
) -> Change:
    """Return the change that lets a session wait; the worker is free afterwards.

    The id of a question gets a part that names this asking of exactly this question. What was seen before must not be answered
    instead: the same call, uncertain once more after a person's retry; or another question, under the same number, of a session
    whose store lost its last moments.
    """
    if wait.kind in _QUESTIONS:
        asked = f"{record.cursor.serial}\n{wait.model_dump_json(exclude=_NOT_ASKED)}"
        wait = wait.model_copy(
            update={"wait_id": f"{wait.wait_id[:_NAME_CHARS]}-{sha256(asked.encode()).hexdigest()[:8]}"}
        )
    moved = move(record, cursor or record.cursor).model_copy(update={"wait": wait})
    return Change(record=moved, step=step, directive="waiting", outcome="suspended", data=data or {"wait": wait.kind})


def finish(record: Record, step: StepKind, **parts: object) -> Change:
    """Return the change that hands a session to the finaliser."""
    cursor = record.cursor.model_copy(update={"stage": "end", "calls": ()})
    moved = move(record, cursor).model_copy(update={"wait": None})
    return Change(record=moved, step=step, directive="finalizing", **parts)  # type: ignore[arg-type]
