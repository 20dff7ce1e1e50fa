"""Decide what a cancel does: which step it may stop in its middle, and what it leaves behind.

    graceful     a tool call that runs comes to its end and counts; what has no effect outside - a model's turn, a
                 function of the state, a plugin, whose publishing is whole or not at all - stops at once
    immediate    everything stops at once, but for what only settles or sends children off, and takes a moment

Either way the calls that were asked for and have no result get one here, so that no model ever reads a context with a
call that nobody answered: what was not begun says so, of what was begun nobody knows whether it acted. The intent of the
latter stays, and the settling entry names it.
Pure. Bringing the word to a worker, stopping a task and telling child sessions are the workers' business
(workers/cancelling.py).
"""

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.event_names import CANCEL_COMPLETED
from orchestrator.contracts.session import PendingCall, Record, ToolCall
from orchestrator.kernel.change import Change, finish
from orchestrator.kernel.lifecycle import cancelled_payload
from orchestrator.kernel.turns import answer

#: The mildest cancel that may stop a step in its middle; `never` is for steps that are short and must be whole.
StopsFor: TypeAlias = Literal["graceful", "immediate", "never"]
#: Why a session's work ends before it has come to its end.
Halted: TypeAlias = Literal["cancelled", "stopped", "over_budget"]


def stops_for(spec: AppSpec, record: Record) -> StopsFor:
    """Return which cancel may stop a session's next step once it runs."""
    cursor = record.cursor
    if record.phase == "finalizing":
        return "never"  # it is being settled: a cancel comes too late
    if cursor.stage == "tools":
        return "immediate"
    skill = spec.skills.get(cursor.skill)
    if skill is None or record.wait is not None:
        return "graceful"
    if skill.kind == "supervisor" and cursor.stage == "enter" and skill.for_each is not None:
        return "never"  # its children must be known before they can be told
    if skill.kind == "monitor" and cursor.stage == "model":
        return "never"  # it may be submitting the session that its look called for
    return "graceful"


def may_stop(record: Record, *, immediate: bool) -> bool:
    """Say whether a cancel ends a session's work: not what is at its end, and only at once what goes to a team."""
    cursor = record.cursor
    if cursor.stop == "escalated":
        return immediate
    return cursor.stop is None and cursor.stage != "end" and record.phase != "finalizing"


def stopped(record: Record, how: Halted, reason: str, *, immediate: bool = False) -> Record:
    """Return the record of a session that goes to its end now; its open calls are still to be closed."""
    cursor = record.cursor.model_copy(update={"stage": "end", "stop": how, "stop_reason": reason})
    update = {"cursor": cursor, "wait": None, "cancel_immediate": record.cancel_immediate or immediate}
    return record.model_copy(update=update)


def end_stopped(
    record: Record,
    intents: Mapping[str, PendingCall],
    announced: Collection[str],
    begun: Collection[str],
    last_words: JsonObject | None = None,
) -> Change:
    """Return the change that ends a session's work, with a result for every call that has none.

    `intents` are announced calls without an outcome, those in `announced` this claim's own; `begun` are calls that this
    claim has made or was making. `last_words` is what a step that was stopped leaves for the journal.
    """
    is_cancelled = record.cursor.stop == "cancelled"
    closed, unmade = [], []
    for call in record.cursor.calls:
        if call.done is not None:
            closed.append(_withhold(call.done))
            continue
        is_begun = call.call_id in begun or (call.call_id in intents and call.call_id not in announced)
        closed.append(_close(record, call, is_begun=is_begun))
        if call.call_id in intents and not is_begun:
            unmade.append(call.call_id)
    data: JsonObject = dict(last_words or {})
    if is_cancelled:
        data |= {"event": CANCEL_COMPLETED, **cancelled_payload(None, was_immediate=record.cancel_immediate)}
    return finish(
        record,
        "wait",
        outcome="cancelled" if is_cancelled else "succeeded",
        messages=tuple(answer(call, call.skill) for call in closed),
        calls=tuple(closed),
        cleared=tuple(unmade),
        data=data,
    )


def _withhold(done: ToolCall) -> ToolCall:
    """Return a call that has acted, and about whose result a hook asked: that it acted stands, what it said nobody let through."""
    told: JsonObject = {
        "error": f"{done.tool}: it has acted; the session was stopped before its result was let through"
    }
    return done.model_copy(update={"result": told})


def _close(record: Record, call: PendingCall, *, is_begun: bool) -> ToolCall:
    """Return a call as the session leaves it: cancelled, begun or not."""
    if not is_begun:
        what = "the session was stopped before this call was made"
    elif call.effect == "read_only":
        what = "the session was stopped while this call ran; its result was not waited for"
    else:
        what = "the session was stopped while this call ran; whether it acted is unknown"
    return ToolCall(
        call_id=call.call_id,
        tool=call.tool,
        args=call.args,
        result={"cancelled": True, "begun": is_begun, "error": f"{call.tool}: {what}"},
        outcome="cancelled",
        skill=record.cursor.skill,
        risk=call.risk,
        approver=call.approver,
        rationale=call.rationale,
    )
