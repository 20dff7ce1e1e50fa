"""An agent's turn: what its model is asked, and what its answer means.

Pure. The answer either asks for tools - then each call is rated, filled and put in line - or is
the agent's last word, and the session leaves the skill. Who calls the model, and what happens
when that fails, is the step's and the executor's work.
"""

from collections.abc import Mapping

from orchestrator.contracts.app import AppSpec, ToolSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import suggest
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolRequest, ToolSchema
from orchestrator.contracts.session import PendingCall, Record, ToolCall
from orchestrator.contracts.skill import Responsive
from orchestrator.kernel.advance import leave
from orchestrator.kernel.change import Change, move
from orchestrator.kernel.harvest import coerce_confidence, coerce_signal
from orchestrator.kernel.inject import SessionView, accepted_args, fill, strip
from orchestrator.kernel.lookup import normalise_tool
from orchestrator.kernel.risk import decide_action, environment_of

#: How much of the state a model is shown with its prompt.
SHOWN_STATE_CHARS = 16_000

#: The argument by which a tool is given the key that makes a repetition of one call harmless.
KEY_ARGUMENT = "idempotency_key"


def tool_spec(spec: AppSpec, tool: str) -> ToolSpec:
    """Return what the app declares of a tool: by full name, else by bare name, else the defaults."""
    found = spec.tools.get(tool) or spec.tools.get(normalise_tool(tool)[1])
    return found or ToolSpec()


def offered_tools(skill: Responsive, catalogue: Mapping[str, ToolSchema]) -> dict[str, ToolSchema]:
    """Return the tools that a skill may call, of those its app's servers have."""
    offered = {}
    for name, schema in catalogue.items():
        server, bare = name.split(":", 1)
        wanted = skill.tools.get(server, ())
        if "*" in wanted or bare in wanted:
            offered[name] = schema
    return offered


def build_request(
    spec: AppSpec, skill: Responsive, record: Record, messages: tuple[Message, ...], catalogue: Mapping[str, ToolSchema]
) -> ModelRequest:
    """Return what the model is asked: the skill's prompt, the state, the context, the tools."""
    hidden = {*spec.injected_args, KEY_ARGUMENT}
    tools = tuple(
        schema.model_copy(update={"parameters": strip(schema.parameters, hidden)})
        for schema in offered_tools(skill, catalogue).values()
    )
    state = dump_json(record.state)
    if len(state) > SHOWN_STATE_CHARS:
        state = state[:SHOWN_STATE_CHARS] + " (cut)"
    return ModelRequest(
        session_id=record.session_id,
        skill=skill.name,
        model=skill.model or spec.model.model,
        system=f"{skill.prompt}\n\nSession {record.session_id}\nState: {state}".strip(),
        messages=messages,
        tools=tools,
        state=record.state,
        turn=record.cursor.turn,
        timeout_seconds=spec.model.request_timeout_seconds,
    )


def settle_turn(
    spec: AppSpec,
    skill: Responsive,
    record: Record,
    response: ModelResponse,
    catalogue: Mapping[str, ToolSchema],
    now: int,
) -> Change:
    """Return what a model's answer changes."""
    cursor = record.cursor
    calls = _with_ids(record, response)
    message = Message(
        role="assistant",
        content=response.content,
        tool_calls=calls,
        skill=skill.name,
        reasoning=response.reasoning if calls else None,
    )
    data: JsonObject = {
        "model": response.model,
        "input_tokens": response.usage.input_tokens,
        "output_tokens": response.usage.output_tokens,
    }
    # What it declared of its turn chooses the way from here: without it the journal would not say why.
    said = {"signal": response.signal, "confidence": response.confidence, "rationale": response.rationale}
    data |= {name: value for name, value in said.items() if value is not None}
    confidence = coerce_confidence(response.confidence)
    update: dict[str, object] = {"turn": cursor.turn + 1, "failures": 0}
    if not cursor.locked:
        if confidence is not None:
            update["confidence"] = confidence
        if response.rationale:
            update["rationale"] = response.rationale
    signal = coerce_signal(response.signal, spec.signals)
    if signal is not None:
        update["signal"] = signal

    if message.tool_calls and cursor.turn < spec.max_turns:
        made, refused = _line_up(spec, skill, record, message.tool_calls, catalogue)
        update |= {"stage": "tools" if made else "model", "calls": made}
        after = move(record, cursor.model_copy(update=update))
        answers = tuple(answer(call, skill.name) for call in refused)
        return Change(record=after, step="agent_turn", messages=(message, *answers), calls=refused, data=data)

    if message.tool_calls:  # the model would go on for ever: its calls are not made, and the agent has failed
        message = message.model_copy(update={"tool_calls": (), "reasoning": None})
        update["signal"] = coerce_signal("failed", spec.signals)
        data["turn_limit"] = spec.max_turns
    after = record.model_copy(update={"cursor": cursor.model_copy(update=update)})
    return leave(spec, after, "agent_turn", now, messages=(message,), data=data)


def _with_ids(record: Record, response: ModelResponse) -> tuple[ToolRequest, ...]:
    """Give every call an id that is this session's own: providers repeat theirs."""
    serial = record.cursor.serial
    return tuple(
        request.model_copy(update={"call_id": f"call-{serial}-{number}"})
        for number, request in enumerate(response.tool_calls)
    )


def _line_up(
    spec: AppSpec,
    skill: Responsive,
    record: Record,
    requests: tuple[ToolRequest, ...],
    catalogue: Mapping[str, ToolSchema],
) -> tuple[tuple[PendingCall, ...], tuple[ToolCall, ...]]:
    """Return the calls to make, rated and filled, and those that cannot be made at all."""
    offered = offered_tools(skill, catalogue)
    calls, refused = [], []
    for request in requests:
        schema = offered.get(request.tool)
        if schema is None:
            error = f"{skill.name}: no tool {request.tool!r}; {suggest(request.tool, offered)}"
            refused.append(
                ToolCall(
                    call_id=request.call_id,
                    tool=request.tool,
                    args=request.args,
                    result={"error": error},
                    outcome="failed",
                    skill=skill.name,
                )
            )
        else:
            calls.append(line_up(spec, record, request, schema))
    return tuple(calls), tuple(refused)


def line_up(spec: AppSpec, record: Record, request: ToolRequest, schema: ToolSchema) -> PendingCall:
    """Return one call as it will be made: arguments injected, effect and risk known."""
    accepted = accepted_args(schema.parameters)
    view = SessionView(id=record.session_id, text=record.text, state=record.state)
    args, _ = fill(request.args, spec.injected_args, view, accepted)
    key = f"{record.session_id}/{request.call_id}"
    args.pop(KEY_ARGUMENT, None)  # the key is ours to give, never a model's
    if KEY_ARGUMENT in accepted:
        args[KEY_ARGUMENT] = key
    declared = tool_spec(spec, request.tool)
    decision = decide_action(spec, request.tool, environment_of(record.state), record.cursor.confidence)
    return PendingCall(
        call_id=request.call_id,
        tool=request.tool,
        args=args,
        key=key,
        effect=declared.effect,
        risk=decision.risk,
        action=decision.action,
    )


def answer(call: ToolCall, skill: str) -> Message:
    """Return the tool message that tells the model how a call ended."""
    content = call.result if isinstance(call.result, str) else dump_json(call.result)
    return Message(role="tool", content=content, call_id=call.call_id, skill=skill)
