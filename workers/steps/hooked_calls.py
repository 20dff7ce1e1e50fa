"""Tool calls with hooks: before each is made, and after it was.

    tool:pre     gate: the arguments. Denied: the call is not made, and the model is told why. Asked: the session waits
                 with this very call, as hooks left it; a grant is for these arguments.
    tool:post    gate: the result. Denied: the model and the state get a failure in its place, though the tool acted.
    tool:error   tells of a call that failed
    approval:required   tells of a call that waits for a person; a denial answers in the person's place

A call that was let through, and one that has ended while a hook asks about its result, is marked as such in the cursor:
neither its hooks nor the call itself are run again, whichever worker goes on.
"""

from collections.abc import Sequence

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.event_names import APPROVAL_REQUIRED, TOOL_ERROR, TOOL_POST, TOOL_PRE
from orchestrator.contracts.session import SUCCESSFUL, PendingCall, Record, ToolCall, Wait
from orchestrator.kernel.calls import settle_calls
from orchestrator.kernel.change import Change
from orchestrator.kernel.turns import KEY_ARGUMENT
from workers.steps.hook_run import Asking, Go, HookRun, Refused
from workers.steps.world import World


async def before_calls(run: HookRun, record: Record) -> Record | Change:
    """Let hooks look at the calls that come next; return the record with their words, or a wait for their question.

    Those are the first call, or all that only read and follow each other: they are made together.
    """
    if not run.hears(TOOL_PRE):
        return record
    calls = list(record.cursor.calls)
    for number, call in enumerate(calls):
        if number and not (call.effect == "read_only" and calls[0].effect == "read_only"):
            break
        if call.hooked or call.verdict in {"rejected", "timeout"}:
            continue
        group = call.call_id.rpartition("-")[0]
        body: JsonObject = {**_about(call), "parallel_group_id": group, "risk": call.risk}
        point = f"{TOOL_PRE}/{call.call_id}"
        at = _with_calls(record, calls)
        verdict = await run.gate(TOOL_PRE, body, record=at, subject="tool_input", point=point, call=call)
        match verdict:
            case Asking(wait=wait):
                run.calls = tuple(calls)
                return run.suspend(at, wait, "tool_calls", event=TOOL_PRE)
            case Refused(hook=hook, reason=reason):
                calls[number] = _refuse(call, hook, reason)
            case Go(is_changed=is_changed, value=value):
                calls[number] = _let_through(call, value if is_changed else None)
    run.calls = tuple(calls)
    return _with_calls(record, calls)


async def before_approval(run: HookRun, record: Record, wait: Wait) -> Record | None:
    """Tell that a call waits for a person; return the record where a hook has denied it in their place."""
    call = wait.call
    if call is None or not run.hears(APPROVAL_REQUIRED):
        return None
    told: JsonObject = {
        **_about(call),
        "prompt": wait.prompt,
        "options": list(wait.options),
        "risk": call.risk,
        "deadline_at": wait.deadline_at,
        "about": TOOL_PRE,
        "hook": None,
    }
    verdict = await run.gate(
        APPROVAL_REQUIRED,
        told,
        record=record,
        point=f"{APPROVAL_REQUIRED}/{call.call_id}",
        call=call,
        may_ask=False,
    )
    if not isinstance(verdict, Refused):
        return None
    calls = [
        _refuse(one, verdict.hook, verdict.reason) if one.call_id == call.call_id else one
        for one in record.cursor.calls
    ]
    return _with_calls(record, calls)


def ended_before(record: Record) -> tuple[ToolCall, ...]:
    """Return the calls that have ended already, while a hook's question about one of them was open."""
    return tuple(call.done for call in record.cursor.calls if call.done is not None)


async def settle_hooked(world: World, run: HookRun, record: Record, ended: Sequence[ToolCall]) -> Change:
    """Return what the ends of calls change, as far as hooks let it; those behind a question keep their ends."""
    settled: list[ToolCall] = []
    for number, one in enumerate(ended):
        if not run.hears(TOOL_POST, TOOL_ERROR):
            settled.extend(ended[number:])
            break
        after = await _after(run, record, one)
        if isinstance(after, Wait):
            left = {call.call_id: call for call in ended[number:]}
            calls = [
                call.model_copy(update={"done": left[call.call_id]}) if call.call_id in left else call
                for call in record.cursor.calls
            ]
            change = settle_calls(world.spec, _with_calls(record, calls), settled, world.app.check_state, world.now())
            asking = run.suspend(change.record, after, "tool_calls", event=TOOL_POST)
            cleared = (*change.cleared, *left)
            return asking._replace(messages=change.messages, calls=change.calls, cleared=cleared)
        settled.append(after)
    return settle_calls(world.spec, record, settled, world.app.check_state, world.now())


async def _after(run: HookRun, record: Record, ended: ToolCall) -> ToolCall | Wait:
    """Return how a call ended, as hooks left it, or the wait for a hook's question about it."""
    if ended.outcome not in SUCCESSFUL:
        if ended.outcome in {"failed", "timeout"}:
            kind = "ToolTimeout" if ended.outcome == "timeout" else "ToolError"
            told: JsonObject = {**_about(ended), "error": {"type": kind, "msg": _message(ended.result)}}
            await run.tell(TOOL_ERROR, told, call_id=ended.call_id)
        return ended
    if not run.hears(TOOL_POST):
        return ended
    call = next((one for one in record.cursor.calls if one.call_id == ended.call_id), None)
    asked = None if call is None else call.model_copy(update={"done": ended})
    body: JsonObject = {
        **_about(ended),
        "tool_result": ended.result,
        "result": ended.result,
        "outcome": ended.outcome,
    }
    verdict = await run.gate(
        TOOL_POST, body, record=record, subject="tool_result", point=f"{TOOL_POST}/{ended.call_id}", call=asked
    )
    match verdict:
        case Asking(wait=wait):
            shown = wait.call.model_copy(update={"done": None}) if wait.call is not None else None
            return wait.model_copy(update={"call": shown})
        case Refused(hook=hook, reason=reason):
            return ended.model_copy(
                update={"outcome": "failed", "result": {"error": f"withheld by hook {hook}: {reason}"}}
            )
        case Go(is_changed=True, value=value):
            return ended.model_copy(update={"result": value})
        case Go():
            return ended


def _about(call: PendingCall | ToolCall) -> JsonObject:
    return {"tool_name": call.tool, "tool_input": call.args, "tool_call_id": call.call_id}


def _let_through(call: PendingCall, changed: JsonValue) -> PendingCall:
    """Mark a call as seen by hooks, with the arguments that they gave it; its own key stays its own."""
    if not isinstance(changed, dict):
        return call.model_copy(update={"hooked": True})
    args = {name: value for name, value in changed.items() if name != KEY_ARGUMENT}
    if KEY_ARGUMENT in call.args:
        args[KEY_ARGUMENT] = call.args[KEY_ARGUMENT]
    return call.model_copy(update={"hooked": True, "args": args})


def _refuse(call: PendingCall, hook: str, reason: str) -> PendingCall:
    denied: dict[str, object] = {"verdict": "rejected", "approver": f"hook:{hook}", "rationale": reason}
    return call.model_copy(update={**denied, "hooked": True})


def _with_calls(record: Record, calls: Sequence[PendingCall]) -> Record:
    return record.model_copy(update={"cursor": record.cursor.model_copy(update={"calls": tuple(calls)})})


def _message(result: JsonValue) -> str:
    error = result.get("error") if isinstance(result, dict) else None
    return error if isinstance(error, str) else ""
