"""Tool calls: which may be made now, which wait for a person, and what their ends change.

No effect happens that was not announced: before a call that is not read-only acts, its intent is
committed. An intent found at a claim, without an outcome, is a call that an earlier holder may
have made: it is repeated only if it is idempotent, or if the app or a person says so.

Pure. Making the calls is the step's work.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import ToolError
from orchestrator.contracts.session import SUCCESSFUL, PendingCall, Record, ToolCall, ToolOutcome, Wait, args_digest
from orchestrator.kernel.advance import leave
from orchestrator.kernel.change import Change, finish, move, suspend
from orchestrator.kernel.delivery import UNCERTAIN_OPTIONS
from orchestrator.kernel.harvest import Harvest, harvest
from orchestrator.kernel.terminal import keep_terminal_call
from orchestrator.kernel.tool_questions import is_asking, question_wait
from orchestrator.kernel.turns import answer, tool_spec
from orchestrator.kernel.updates import apply_updates

CheckState: TypeAlias = Callable[[JsonObject], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Make these calls now: one that was announced, or several that only read."""

    calls: tuple[PendingCall, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Commit the intent of this call; the next step makes it."""

    call: PendingCall


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait for a person: may this call be made, or was it?"""

    wait: Wait


@dataclass(frozen=True, slots=True)
class End:
    """These calls have come to their end without being made."""

    ended: tuple[ToolCall, ...]


CallPlan: TypeAlias = Run | Announce | Ask | End


def plan_calls(
    spec: AppSpec, record: Record, intents: Mapping[str, PendingCall], announced: Collection[str], now: int
) -> CallPlan:
    """Return what to do next about the calls in line.

    `intents` are announced calls without an outcome; those in `announced` are this claim's own,
    the others an earlier holder's. Calls are made in the order in which the model asked, but those
    that only read, and follow each other, go together.
    """
    calls = record.cursor.calls
    unmade = tuple(_unmade(record, call) for call in calls if call.verdict in {"rejected", "timeout"})
    if unmade:
        return End(unmade)
    first = calls[0]
    if first.action == "approve" and first.verdict is None:
        return Ask(_approval_wait(spec, record, first, now))
    if is_asking(first):
        return Ask(question_wait(spec, record, first, now))
    if first.effect == "read_only":
        batch = []
        for call in calls:
            if call.effect != "read_only" or (call.action == "approve" and call.verdict is None) or is_asking(call):
                break
            batch.append(call)
        return Run(tuple(batch))
    if first.call_id in announced:
        return Run((first,))
    if first.call_id not in intents or first.effect == "idempotent" or first.resolution == "retry":
        return Announce(first)
    return _plan_uncertain(spec, record, first, now)


def _plan_uncertain(spec: AppSpec, record: Record, call: PendingCall, now: int) -> CallPlan:
    on_uncertain = tool_spec(spec, call.tool).on_uncertain
    if call.resolution == "happened":
        result: JsonObject = {"happened": True, "note": call.rationale or "a person found that it was done"}
        return End((ended(record, call, "executed", result),))
    if call.resolution == "failed" or on_uncertain == "fail":
        return End(
            (
                ended(
                    record, call, "failed", {"error": f"{call.tool}: a crash hid whether it acted; it counts as failed"}
                ),
            )
        )
    if on_uncertain == "retry":
        return Announce(call)
    return Ask(
        Wait(
            wait_id=f"{record.session_id}/uncertain-{call.call_id}",
            kind="uncertain",
            since_at=now,
            prompt=f"{call.tool} was begun and its outcome is unknown. Look, then say: retry, happened or failed.",
            options=UNCERTAIN_OPTIONS,
            roster=spec.gateway.approvers if spec.gateway else (),
            call=call,
            digest=args_digest(call.tool, call.args),
        )
    )


def _approval_wait(spec: AppSpec, record: Record, call: PendingCall, now: int) -> Wait:
    gateway = spec.gateway
    seconds = gateway.approval_timeout_seconds if gateway else 3600.0
    return Wait(
        wait_id=f"{record.session_id}/approve-{call.call_id}",
        kind="approval",
        since_at=now,
        deadline_at=now + int(seconds * 1000),
        prompt=f"{record.cursor.skill} wants to call {call.tool} (risk {call.risk or 'unrated'})",
        options=("allow", "deny"),
        roster=gateway.approvers if gateway else (),
        call=call,
        digest=args_digest(call.tool, call.args),
    )


def _unmade(record: Record, call: PendingCall) -> ToolCall:
    """Return the end of a call that nobody allowed."""
    if call.verdict == "timeout":
        return ended(record, call, "timeout", {"timeout": True, "rationale": call.rationale})
    return ended(record, call, "rejected", {"rejected": True, "rationale": call.rationale})


def ended(record: Record, call: PendingCall, outcome: ToolOutcome, result: object) -> ToolCall:
    """Return a call with its outcome."""
    return ToolCall(
        call_id=call.call_id,
        tool=call.tool,
        args=call.args,
        result=result,  # type: ignore[arg-type]
        outcome=outcome,
        skill=record.cursor.skill,
        risk=call.risk,
        approver=call.approver,
        rationale=call.rationale,
    )


def success_outcome(call: PendingCall) -> ToolOutcome:
    """Return the outcome of a call that acted, by how it came to be allowed."""
    if call.verdict == "approved":
        return "approved"
    return "executed_with_notify" if call.action == "notify" else "executed"


def announce(record: Record, call: PendingCall) -> Change:
    """Return the change that announces a call.

    A person's word to repeat it is used up here: should this attempt be lost as well, they are asked again.
    """
    announced = call.model_copy(update={"resolution": None})
    calls = tuple(announced if one.call_id == call.call_id else one for one in record.cursor.calls)
    cursor = record.cursor.model_copy(update={"calls": calls})
    data: JsonObject = {"announced": call.call_id}
    return Change(record=move(record, cursor), step="tool_calls", intents=(announced,), data=data)


def ask(record: Record, wait: Wait) -> Change:
    """Return the change that waits for a person."""
    asked = wait.call.call_id if wait.call is not None else ""
    return suspend(record, wait, "wait", data={"wait": wait.kind, "call": asked})


def bury_escalation(record: Record, unmade: Sequence[ToolCall]) -> Change:
    """Return the change that buries a session whose escalation was not made: sent again, it calls the tool anew.

    A hook has denied the call, or it was found not to have acted: either way nobody has heard of the session.
    """
    why = "; ".join(f"{call.tool}: {dump_json(call.result)[:500]}" for call in unmade)
    return Change(
        record=move(record, record.cursor.model_copy(update={"calls": ()})),
        step="tool_calls",
        directive="dead",
        outcome="failed",
        calls=tuple(unmade),
        cleared=tuple(call.call_id for call in unmade),
        reason="permanent_error",
        detail=f"session {record.session_id}: its escalation was not made: {why}; replay when it may be made",
    )


def keep_asked(record: Record, asked: Sequence[PendingCall]) -> Record:
    """Return the session with what these calls' tools asked in place of the calls as they were."""
    now = {call.call_id: call for call in asked}
    calls = tuple(now.get(call.call_id, call) for call in record.cursor.calls)
    return record.model_copy(update={"cursor": record.cursor.model_copy(update={"calls": calls})})


def note_asked(change: Change, asked: Sequence[PendingCall]) -> Change:
    """Return the change with the intents of calls that have asked withdrawn: they have not acted, and are announced anew."""
    ids = [call.call_id for call in asked]
    return change._replace(cleared=(*change.cleared, *ids), data={**change.data, "asked": [*ids]})


def settle_calls(spec: AppSpec, record: Record, ended_calls: Sequence[ToolCall], check: CheckState, now: int) -> Change:
    """Return what the ends of calls change: state, context, harvest, the deciding call, the cursor.

    A result whose updates do not fit the state makes its call a failed one; the state keeps.
    """
    state, finished = record.state, []
    for call in ended_calls:
        if call.outcome in SUCCESSFUL:
            try:
                changed = apply_updates(state, tool_spec(spec, call.tool).updates, call.args, call.result)
                if changed is not state:
                    check(changed)
                state = changed
            except ToolError as error:
                call = call.model_copy(update={"outcome": "failed", "result": {"error": str(error)}})  # noqa: PLW2901
        finished.append(call)

    done = {call.call_id for call in finished}
    cursor = record.cursor
    left = tuple(call for call in cursor.calls if call.call_id not in done)
    kept = harvest(Harvest.of(cursor), finished, spec)
    cursor = cursor.model_copy(update={**kept.model_dump(), "calls": left, "failures": 0})
    after = record.model_copy(
        update={
            "cursor": cursor,
            "state": state,
            "terminal_call": keep_terminal_call(spec, record.terminal_call, finished),
        }
    )
    messages = tuple(answer(call, cursor.skill) for call in finished)
    parts: dict[str, object] = {"messages": messages, "calls": tuple(finished), "cleared": tuple(done)}
    if left:
        return Change(record=move(after, cursor), step="tool_calls", **parts)  # type: ignore[arg-type]
    if cursor.stop is not None:
        return finish(after, "tool_calls", **parts)
    kind = spec.skills[cursor.skill].kind
    if kind != "responsive" and any(call.outcome not in SUCCESSFUL for call in finished):
        cursor = cursor.model_copy(update={"signal": "failed"})
    if kind in {"responsive", "monitor"}:
        moved = move(after, cursor.model_copy(update={"stage": "model"}))
        return Change(record=moved, step="tool_calls", **parts)  # type: ignore[arg-type]
    after = after.model_copy(update={"cursor": cursor})
    return leave(spec, after, "tool_calls", now, **parts)  # type: ignore[arg-type]
