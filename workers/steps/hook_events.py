"""Which events a session's life says to its hooks, around whatever step is performed.

    before a step   session:fork and session:start, once · session:resume after a suspension · approval:granted, approval:denied
    after it        provider:error and provider:retry of a model call that failed · provider:throttle of one that may not go yet · cancel:requested, cancel:completed ·
                    execution:end and orchestrator:complete, whichever way an agent's work ends · session:end

"Once" is kept in the session's memory, so it holds across workers; a worker that dies before its commit says the same again.
What an agent's turn and a tool call say is told where they are made: hooked_turn.py, hooked_calls.py.
"""

from typing import Final, Literal, TypeAlias

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.event_names import (
    APPROVAL_DENIED,
    APPROVAL_GRANTED,
    ARTIFACT_WRITE,
    CANCEL_COMPLETED,
    CANCEL_REQUESTED,
    EXECUTION_END,
    ORCHESTRATOR_COMPLETE,
    POLICY_VIOLATION,
    PROVIDER_ERROR,
    PROVIDER_RETRY,
    PROVIDER_THROTTLE,
    SESSION_END,
    SESSION_FORK,
    SESSION_RESUME,
    SESSION_START,
)
from orchestrator.contracts.failures import to_record
from orchestrator.contracts.provider_errors import LLMError
from orchestrator.contracts.session import Record, Wait
from orchestrator.kernel.change import Change
from workers.steps.hook_run import HookRun

RunStatus: TypeAlias = Literal["completed", "cancelled", "error"]

#: How an agent's work ended, as the two events about it say it.
_COMPLETED: Final[dict[RunStatus, str]] = {"completed": "success", "cancelled": "cancelled", "error": "incomplete"}
#: Statuses of a plugin's entry that break a rule of its sandbox.
_VIOLATIONS: Final = frozenset({"policy_violation"})


async def tell_before(run: HookRun, record: Record) -> None:
    """Tell what has happened to a session up to a step; `record` is the session with its posts folded in."""
    run.is_begun, before = True, run.stored
    if record.phase == "finalizing":
        return
    if not run.memory.started:
        if record.parent is not None:
            at: JsonObject = {"at": record.forked_at} if record.forked_at else {}
            await run.tell(SESSION_FORK, {"parent": record.parent, **at})
        await run.tell(SESSION_START, {})
        run.keep(started=True)
    elif before.wait is not None and before.wait.kind not in {"retry", "limit"} and record.wait is None:
        await run.tell(SESSION_RESUME, {"wait": before.wait.kind})
    if before.wait is not None and before.wait.kind == "approval" and record.wait is None:
        await _tell_answer(run, before.wait, record)


async def _tell_answer(run: HookRun, wait: Wait, record: Record) -> None:
    if not run.hears(APPROVAL_GRANTED, APPROVAL_DENIED):
        return
    told: JsonObject = {"prompt": wait.prompt, "hook": wait.hook or None, "about": wait.reason or None}
    if wait.call is not None:
        told |= {"tool_name": wait.call.tool, "tool_input": wait.call.args, "tool_call_id": wait.call.call_id}
    if wait.hook:
        asked = record.hooks.asked if record.hooks is not None else None
        if asked is None or asked.verdict is None:
            return
        is_granted, actor, why = asked.verdict == "allowed", asked.actor, asked.rationale
    else:
        named = wait.call.call_id if wait.call is not None else ""
        call = next((one for one in record.cursor.calls if one.call_id == named), None)
        if call is None or call.verdict is None:
            return
        is_granted, actor, why = call.verdict == "approved", call.approver or "", call.rationale or ""
    event = APPROVAL_GRANTED if is_granted else APPROVAL_DENIED
    await run.tell(event, {**told, "actor": actor, "reason": why})


async def tell_after(run: HookRun, change: Change) -> Change:
    """Tell what a step has come to, and return its change with all that hooks left.

    A session that was only looked at, and goes on waiting or to another worker, has nothing to tell.
    """
    record, before = change.record, run.stored
    if not run.is_begun and change.directive not in {"finalizing", "dead"}:
        return change
    if run.failure is not None:
        await _tell_failure(run, change, run.failure)
    if record.wait is not None and record.wait.kind == "limit" and change.data.get("wait") == "limit":
        await _tell_throttled(run, record.wait)
    if record.cursor.stop == "cancelled" and before.cursor.stop is None:
        reason = record.cursor.stop_reason
        await run.tell(CANCEL_REQUESTED, {"reason": reason, "immediate": record.cancel_immediate})
        await tell_execution_end(run, record, "", "cancelled")
        await run.tell(CANCEL_COMPLETED, {"was_immediate": record.cancel_immediate, "reason": reason})
    if change.directive in {"finalizing", "dead"} and run.memory.running:
        await tell_execution_end(run, record, "", "completed" if record.cursor.stop is not None else "error")
    if change.directive == "ended":
        await run.tell(SESSION_END, {"status": change.status, "reason": record.reason, "state": record.state})
    if change.step == "plugin_pass":
        await _tell_plugin(run, change)
    return run.seal(change)


async def tell_execution_end(
    run: HookRun, record: Record, response: str, status: RunStatus, complete: str = ""
) -> None:
    """Tell, once, that an agent's work is over: what it said last, and how it ended."""
    if not run.memory.running:
        return
    run.keep(running=False)
    await run.tell(EXECUTION_END, {"response": response, "status": status})
    done: JsonObject = {"orchestrator": record.cursor.skill, "turn_count": record.cursor.turn}
    await run.tell(ORCHESTRATOR_COMPLETE, {**done, "status": complete or _COMPLETED[status]})


async def _tell_failure(run: HookRun, change: Change, error: Exception) -> None:
    """Tell of a model call that failed, and whether it is made again."""
    if not isinstance(error, LLMError) or not run.hears(PROVIDER_ERROR, PROVIDER_RETRY):
        return
    failure = to_record(error)
    told: JsonObject = {
        "provider": failure.provider or run.spec.model.provider,
        "model": failure.model,
        "error": {"type": failure.error, "msg": failure.message},
        "retryable": failure.retryable,
        "status_code": failure.status_code,
    }
    await run.tell(PROVIDER_ERROR, told)
    if change.directive == "waiting":
        delay = change.data.get("retry_seconds")
        await run.tell(PROVIDER_RETRY, {**told, "attempt": change.record.cursor.failures, "delay": delay})


async def _tell_throttled(run: HookRun, wait: Wait) -> None:
    """Tell of a model call that may not go yet: how long it waits, in seconds, and why."""
    due = wait.deadline_at if wait.deadline_at is not None else wait.since_at
    told: JsonObject = {
        "provider": run.spec.model.provider,
        "delay": (due - wait.since_at) / 1000,
        "reason": wait.reason,
    }
    await run.tell(PROVIDER_THROTTLE, told)


async def _tell_plugin(run: HookRun, change: Change) -> None:
    """Tell of the files that a plugin's run has published, or of the rule that it broke."""
    entry, changes = change.data.get("plugin"), change.data.get("changes")
    if not isinstance(entry, dict):
        return
    if entry.get("status") in _VIOLATIONS:
        await run.tell(
            POLICY_VIOLATION, {"plugin": entry.get("plugin"), "reason": entry.get("error") or entry["status"]}
        )
    if entry.get("status") == "success" and run.hears(ARTIFACT_WRITE):
        for one in changes if isinstance(changes, list) else ():
            if isinstance(one, dict):
                await run.tell(ARTIFACT_WRITE, {"plugin": entry.get("plugin"), **one})
