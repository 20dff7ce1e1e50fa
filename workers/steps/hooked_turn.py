"""An agent's turn with hooks: what stands between its prompt, its model call and what follows from that.

    first turn   execution:start, then prompt:submit     gate: the text of the prompt
    each turn    provider:request                        gate: the model's name          llm:request    tells
                 llm:response                            tells                           provider:response  gate: the response
    last word    prompt:complete, execution:end, orchestrator:complete

A gate that denies ends the agent's work with the signal `failed`. A question about a response keeps the response in the
session's memory: the model is not asked again. Texts for this call go before the model's words, ephemeral ones only into
its request; they are forgotten with the commit of the turn that used them, and so also reach a call that is made again.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, cast

from pydantic import JsonValue, ValidationError

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.event_names import (
    EXECUTION_START,
    LLM_REQUEST,
    LLM_RESPONSE,
    PROMPT_COMPLETE,
    PROMPT_SUBMIT,
    PROVIDER_REQUEST,
    PROVIDER_RESPONSE,
)
from orchestrator.contracts.hooks import Ephemeral
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolSchema
from orchestrator.contracts.provider_errors import ContextLengthError
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Responsive
from orchestrator.kernel.advance import leave
from orchestrator.kernel.change import Change
from orchestrator.kernel.redaction import truncate_for_log
from orchestrator.kernel.turns import build_request, settle_turn
from workers.steps.context import Shown, compact_refused, show_context
from workers.steps.hook_events import tell_execution_end
from workers.steps.hook_run import Asking, Go, HookRun, Refused
from workers.steps.world import World

#: Prompts of one session that hooks may have changed; and what of a last word is previewed.
MOST_REWRITTEN = 64
PREVIEW_CHARS = 200
#: What stands in `kept` for the response that a question is about, and for the model that hooks chose for a call that
#: may have to be made again.
RESPONSE, MODEL = "response", "model"

AskModel: TypeAlias = Callable[[World, Record, ModelRequest], Awaitable[ModelResponse]]


async def perform_hooked(
    world: World,
    run: HookRun,
    skill: Responsive,
    record: Record,
    catalogue: Mapping[str, ToolSchema],
    ask_model: AskModel,
) -> Change:
    """Make one turn, as far as its hooks let it."""
    kept = run.memory.kept.get(RESPONSE)
    seen = Shown(())
    if kept is None:
        stopped = await _submit_prompt(world, run, record)
        if stopped is not None:
            return stopped
        messages = await read_context(world)
        context = await show_context(world, record, messages, ask_model)
        if isinstance(context, Change):
            return context
        seen = context
        request = await _request(world, run, skill, record, seen.messages, catalogue)
        if isinstance(request, Change):
            return request
        try:
            response = await _ask(world, run, request, record, ask_model)
        except ContextLengthError:
            compacted = await compact_refused(world, record, messages, ask_model)
            if compacted is None:
                raise
            return compacted
    else:
        response = ModelResponse.model_validate(kept)
    run.has_open_calls = True  # from here on the model's words come first
    verdict = await _respond(world, run, record, response)
    match verdict:
        case Asking(wait=wait):
            run.keep(kept={RESPONSE: response.model_dump(mode="json", exclude_defaults=True)})
            return seen.settle(run.suspend(record, wait, "agent_turn", event=PROVIDER_RESPONSE))
        case Refused():
            run.keep(ephemeral=(), spent=0)
            return await _end_denied(world, run, record, verdict, PROVIDER_RESPONSE)
        case Go(is_changed=True, value=value):
            changed = _with_response(response, value)
            if isinstance(changed, Refused):
                return await _end_denied(world, run, record, changed, PROVIDER_RESPONSE)
            response = changed
    change = seen.settle(settle_turn(world.spec, skill, record, response, catalogue, world.now()))
    await _complete(run, record, change, response)
    return change


async def _submit_prompt(world: World, run: HookRun, record: Record) -> Change | None:
    """Tell that an agent begins, with what it is asked; return the change that ends it there."""
    cursor = record.cursor
    if cursor.stage != "enter" or not run.hears(*_ABOUT_A_RUN):
        return None
    messages = await world.messages()
    said = (number for number, one in enumerate(messages) if one.role == "user" and not one.source)
    place = max(said, default=None)  # what a hook added under this role is nobody's prompt
    prompt = "" if place is None else messages[place].content
    if not run.memory.running:
        await run.tell(EXECUTION_START, {"prompt": prompt, "skill": cursor.skill})
        run.keep(running=True)
    verdict = await run.gate(PROMPT_SUBMIT, {"prompt": prompt, "skill": cursor.skill}, record=record, subject="prompt")
    match verdict:
        case Asking(wait=wait):
            return run.suspend(record, wait, "agent_turn", event=PROMPT_SUBMIT)
        case Refused():
            return await _end_denied(world, run, record, verdict, PROMPT_SUBMIT)
        case Go(is_changed=True, value=value) if place is not None:
            if len(run.memory.rewritten) >= MOST_REWRITTEN and str(place) not in run.memory.rewritten:
                full = Refused("", f"{MOST_REWRITTEN} prompts of this session were changed already")
                return await _end_denied(world, run, record, full, PROMPT_SUBMIT)
            run.keep(rewritten={**run.memory.rewritten, str(place): str(value)})
    return None


_ABOUT_A_RUN = (EXECUTION_START, PROMPT_SUBMIT, PROMPT_COMPLETE, "execution:end", "orchestrator:complete")


async def _request(
    world: World,
    run: HookRun,
    skill: Responsive,
    record: Record,
    messages: tuple[Message, ...],
    catalogue: Mapping[str, ToolSchema],
) -> Change | ModelRequest:
    """Return what the model is asked, or the change that a hook made of it."""
    provider = world.spec.model.provider
    request = build_request(world.spec, skill, record, messages, catalogue)
    told: JsonObject = {"provider": provider, "model": request.model, "skill": skill.name, "turn": request.turn}
    if run.hears(PROVIDER_REQUEST):
        quoted: list[JsonValue] = [one.model_dump(mode="json", exclude_defaults=True) for one in request.messages]
        shown: JsonObject = {**told, "messages": quoted}
        verdict = await run.gate(PROVIDER_REQUEST, shown, record=record, subject="model")
        match verdict:
            case Asking(wait=wait):
                return run.suspend(record, wait, "agent_turn", event=PROVIDER_REQUEST)
            case Refused():
                return await _end_denied(world, run, record, verdict, PROVIDER_REQUEST)
            case Go(is_changed=True, value=value):
                run.keep(kept={**run.memory.kept, MODEL: value})
    model = run.memory.kept.get(MODEL)
    return request if model is None else request.model_copy(update={"model": str(model)})


async def _ask(world: World, run: HookRun, request: ModelRequest, record: Record, ask_model: AskModel) -> ModelResponse:
    """Make the model call, with the texts that hooks have for it."""
    asked: JsonObject = {
        "provider": world.spec.model.provider,
        "model": request.model,
        "skill": request.skill,
        "turn": request.turn,
        "request_id": f"{record.session_id}/{record.cursor.serial}",
    }
    if run.hears(LLM_REQUEST):
        tools: list[JsonValue] = [one.name for one in request.tools]
        await run.tell(LLM_REQUEST, {**asked, "message_count": len(request.messages), "tools": tools})
    request = request.model_copy(update={"messages": (*request.messages, *run.before)})
    response = await ask_model(world, record, _with_ephemeral(request, run.memory.ephemeral))
    run.keep(ephemeral=(), spent=0)
    if run.hears(LLM_RESPONSE):
        usage: JsonObject = {
            "input_tokens": response.usage.input_tokens,
            "output_tokens": response.usage.output_tokens,
        }
        await run.tell(
            LLM_RESPONSE,
            {**asked, "model": response.model, "usage": usage, "stop_reason": response.stop_reason},
        )
    return response


async def read_context(world: World) -> tuple[Message, ...]:
    """Return the whole context; prompts that hooks changed are as they left them."""
    messages = await world.messages()
    rewritten = world.hooks.memory.rewritten if world.hooks is not None else {}
    if not rewritten:
        return messages
    return tuple(
        one.model_copy(update={"content": rewritten[str(number)]}) if str(number) in rewritten else one
        for number, one in enumerate(messages)
    )


def _with_ephemeral(request: ModelRequest, texts: tuple[Ephemeral, ...]) -> ModelRequest:
    """Return the request with the texts that only this call sees, at its end or at its last tool result."""
    messages = list(request.messages)
    for text in texts:
        last = messages[-1] if messages else None
        if text.append and last is not None and last.role == "tool":
            messages[-1] = last.model_copy(update={"content": f"{last.content}\n\n{text.content}"})
        else:
            messages.append(Message(role=text.role, content=text.content, skill=request.skill))
    return request.model_copy(update={"messages": tuple(messages)}) if texts else request


async def _respond(world: World, run: HookRun, record: Record, response: ModelResponse) -> Go | Refused | Asking:
    if not run.hears(PROVIDER_RESPONSE):
        return Go()
    body = {
        "provider": world.spec.model.provider,
        "response": {
            "content": response.content,
            "tool_calls": [{"id": one.call_id, "name": one.tool, "arguments": one.args} for one in response.tool_calls],
        },
        "usage": {"input_tokens": response.usage.input_tokens, "output_tokens": response.usage.output_tokens},
    }
    return await run.gate(PROVIDER_RESPONSE, cast("JsonObject", body), record=record, subject="response")


def _with_response(response: ModelResponse, value: object) -> ModelResponse | Refused:
    """Return the response as hooks left it: its text, and of its tool calls those that are left, as they were."""
    found = value if isinstance(value, dict) else {}
    calls = found.get("tool_calls", [])
    ids = {one.get("id") for one in calls if isinstance(one, dict)} if isinstance(calls, list) else None
    try:
        text = ModelResponse.model_validate({"content": found.get("content", "")}, strict=True).content
    except ValidationError:
        return Refused("", "the changed response has no text as its content")
    if ids is None:
        return Refused("", "the changed response has no list of tool_calls")
    kept = tuple(one for one in response.tool_calls if one.call_id in ids)
    return response.model_copy(update={"content": text, "tool_calls": kept})


async def _end_denied(world: World, run: HookRun, record: Record, refused: Refused, event: str) -> Change:
    """End the agent's work: what it was about to do was denied."""
    response = f"Operation denied: {refused.reason}"
    await tell_execution_end(run, record, response, "error")
    cursor = record.cursor.model_copy(update={"rationale": refused.reason, "signal": "failed", "failures": 0})
    denied: JsonObject = {"denied": event, "hook": refused.hook, "reason": refused.reason}
    after = record.model_copy(update={"cursor": cursor})
    return leave(world.spec, after, "agent_turn", world.now(), "failed", data=denied)


async def _complete(run: HookRun, record: Record, change: Change, response: ModelResponse) -> None:
    """Tell that the agent has said its last word, if it has."""
    if change.record.cursor.stage in {"model", "tools"}:
        return
    text = response.content
    preview = truncate_for_log(text, PREVIEW_CHARS)
    await run.tell(PROMPT_COMPLETE, {"response_preview": preview, "length": len(text), "skill": record.cursor.skill})
    how = "incomplete" if "turn_limit" in change.data else ""
    turned = record.model_copy(update={"cursor": record.cursor.model_copy(update={"turn": record.cursor.turn + 1})})
    await tell_execution_end(run, turned, text, "completed", how)
