"""Tool calls: make the one that was announced, or together those that only read."""

import asyncio

from pydantic import JsonValue

from orchestrator.contracts.errors import ToolError, ToolNeedsInput, ToolTimeout, ToolUnavailable
from orchestrator.contracts.session import SUCCESSFUL, PendingCall, Record, ToolCall
from orchestrator.contracts.skill import Monitor
from orchestrator.kernel.budgets import calls_left
from orchestrator.kernel.calls import (
    Announce,
    Ask,
    End,
    Run,
    announce,
    ask,
    bury_escalation,
    ended,
    keep_asked,
    note_asked,
    plan_calls,
    settle_calls,
    success_outcome,
)
from orchestrator.kernel.change import Change
from orchestrator.kernel.grants import apply_grants
from orchestrator.kernel.tool_questions import answers_to, read_question
from orchestrator.kernel.turns import tool_spec
from orchestrator.telemetry import redact
from orchestrator.tracing import span
from workers.steps.hooked_calls import before_approval, before_calls, ended_before, settle_hooked
from workers.steps.world import World


async def perform(world: World, record: Record) -> Change:
    """Do what comes next about the calls in line."""
    hooks = world.hooks
    if hooks is not None:
        ended_already = ended_before(record)
        if ended_already:
            return await settle_hooked(world, hooks, record, ended_already)
        looked_at = await before_calls(hooks, record)
        if isinstance(looked_at, Change):
            return looked_at
        record = looked_at
    record = apply_grants(record)
    plan = plan_calls(world.spec, record, world.intents, world.announced, world.now())
    match plan:
        case Ask(wait=wait):
            denied = await before_approval(hooks, record, wait) if hooks is not None else None
            if denied is not None:
                unmade = plan_calls(world.spec, denied, world.intents, world.announced, world.now())
                closed = unmade.ended if isinstance(unmade, End) else ()
                return _close(world, denied, closed)
            return ask(record, wait)
        case Announce(call=call):
            return announce(record, call)
        case End(ended=calls):
            return _close(world, record, calls)
        case Run(calls=calls):
            calls = calls[: calls_left(world.spec, record)]
            if any(call.effect == "effectful" for call in calls):
                await world.hold()
            # All come to their end before one's failure counts: none is left running behind the step.
            made = await asyncio.gather(*(_call(world, record, call) for call in calls), return_exceptions=True)
            results = [_raised(one) for one in made]
            asked = [one for one in results if isinstance(one, PendingCall)]
            done = [one for one in results if isinstance(one, ToolCall)]
            if asked:
                record = keep_asked(record, asked)
            if record.cursor.stop == "escalated" and done[0].outcome not in SUCCESSFUL:
                raise ToolError(f"{done[0].tool}: the escalation failed ({done[0].result}); replay when it works again")
            if hooks is not None:
                change = await settle_hooked(world, hooks, record, done)
            else:
                change = settle_calls(world.spec, record, done, world.app.check_state, world.now())
            return note_asked(change, asked) if asked else change


def _close(world: World, record: Record, ended_calls: tuple[ToolCall, ...]) -> Change:
    """Return what calls change that end without being made; a session that nobody was told of is not settled by them."""
    if record.cursor.stop == "escalated" and any(one.outcome not in SUCCESSFUL for one in ended_calls):
        return bury_escalation(record, ended_calls)
    return settle_calls(world.spec, record, ended_calls, world.app.check_state, world.now())


def _raised(made: ToolCall | PendingCall | BaseException) -> ToolCall | PendingCall:
    if isinstance(made, BaseException):
        raise made
    return made


async def _call(world: World, record: Record, call: PendingCall) -> ToolCall | PendingCall:
    """Make one call. What the model may hear of a failure becomes its result.

    A tool that asks a person before it acts gives the call back with its question: nothing was done.

    A server that cannot be reached is the executor's to retry - unless the call may have acted, there
    or because its time ran out: an effectful one then stays announced without an outcome, and the
    next step finds it uncertain, as after a crash. One that surely was not sent is announced anew.
    """
    declared = tool_spec(world.spec, call.tool)
    skill = world.spec.skills[record.cursor.skill]
    seconds = skill.tick_timeout_seconds if isinstance(skill, Monitor) else declared.timeout_seconds
    world.begun.add(call.call_id)
    try:
        with span(
            f"execute_tool {call.tool}", attributes={"gen_ai.tool.name": call.tool, "gen_ai.tool.call.id": call.call_id}
        ):
            result: JsonValue = await world.app.toolbox.call(
                call.tool, call.args, timeout_seconds=seconds, answers=answers_to(call)
            )
    except ToolUnavailable as error:
        if call.effect == "effectful":
            if error.is_sent:
                world.announced.discard(call.call_id)
            else:
                world.unsent.append(call.call_id)
        raise
    except ToolTimeout as error:
        if call.effect == "effectful" and declared.on_uncertain != "fail":
            world.announced.discard(call.call_id)
            raise
        return ended(record, call, "timeout", {"error": redact(str(error)), "timeout": True})
    except ToolNeedsInput as error:
        return _take_question(record, call, error)
    except ToolError as error:
        return ended(record, call, "failed", {"error": redact(str(error))})
    return ended(record, call, success_outcome(call), result)


def _take_question(record: Record, call: PendingCall, error: ToolNeedsInput) -> ToolCall | PendingCall:
    """Return the call with its tool's question, or failed where nobody can answer it."""
    try:
        if record.cursor.stop is not None:
            raise ToolError(f"{call.tool}: it asks for input, and the session is at its end; nobody answers")
        asked = read_question(call.tool, error.requests, error.request_state, before=call.asked)
    except ToolError as refused:
        return ended(record, call, "failed", {"error": str(refused)})
    return call.model_copy(update={"asked": asked})
