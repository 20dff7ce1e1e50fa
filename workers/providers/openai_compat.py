"""Speak OpenAI's chat completions, as many services do: POST {base_url}/chat/completions.

This module translates a request and its answer, both pure, and sends through HttpChannel. It does not retry. A tool call whose arguments are not a JSON object is a malformed
answer and so transient: asked again, a model usually does better. What services that think want back with a call goes back
as it was (reasoning.py).
"""

from collections.abc import Mapping
from typing import Final

import httpx2
from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, Reasoning, ToolRequest, Usage
from orchestrator.contracts.provider_errors import InvalidToolCallError
from workers.providers.assembling import OpenAiAssembly
from workers.providers.dialect import Dialect, HttpProvider, Wire, refuse_cut, sampling
from workers.providers.envelope import parse_envelope
from workers.providers.handover import in_turns, opening_of, with_handovers
from workers.providers.http import HttpChannel
from workers.providers.names import WireNames, unique_call_ids, wire_call_id, wire_names
from workers.providers.options import HttpOptions, read_base_url, read_headers, read_key, read_model, read_options

DEFAULT_URL: Final = "https://api.openai.com/v1"
PATH: Final = "/chat/completions"

STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}


#: How services name what they want back with calls: of the whole message, by its type, and of one call.
THOUGHTS: Final[Mapping[str, type]] = {"reasoning_content": str, "reasoning_details": list}
SEAL: Final = "extra_content"


class _Function(Wire):
    name: str
    arguments: str | JsonObject | None = None


class _Call(Wire):
    id: str | None = None
    function: _Function
    extra_content: JsonValue = None


class _Message(Wire):
    content: str | list[JsonValue] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Wire):
    message: _Message
    finish_reason: str | None = None


class _Usage(Wire):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(Wire):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


def build(spec: AppSpec, *, env: Mapping[str, str], client: httpx2.AsyncClient | None = None) -> HttpProvider:
    """Build the provider from `spec.model`; raise ConfigError."""
    options, model = read_options(spec, HttpOptions), read_model(spec)
    key = read_key(spec, options, env)
    url = read_base_url(spec, options, DEFAULT_URL, key, env)
    channel = HttpChannel("openai_compat", url, headers=read_headers(spec, options), key=key, client=client)
    return HttpProvider(DIALECT, channel, model=model, options=options)


def to_body(request: ModelRequest, *, model: str, options: HttpOptions) -> JsonObject:
    """Return the JSON of a request. System messages at the context's start join the system prompt."""
    names = wire_names(request)
    opening = opening_of(request.messages)
    prompt = "\n\n".join(text for text in (request.system, *(one.content for one in opening)) if text.strip())
    system: list[JsonValue] = [{"role": "system", "content": prompt}] if prompt else []
    said = in_turns(with_handovers(request.messages[len(opening) :], request.skill))
    spoken = (_to_message(message, names) for message in said)
    body: JsonObject = {"model": model, "messages": [*system, *spoken]}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": names.wire(tool.name),
                    "description": tool.description,
                    "parameters": tool.parameters or {"type": "object", "properties": {}},
                },
            }
            for tool in request.tools
        ]
    return {**body, **sampling(options), **options.extra_body}


def _to_message(message: Message, names: WireNames) -> JsonObject:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": wire_call_id(message.call_id or ""), "content": message.content}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    calls: list[JsonValue] = [
        {
            "id": wire_call_id(call.call_id),
            "type": "function",
            "function": {"name": names.wire(call.tool), "arguments": dump_json(call.args)},
            **({} if call.seal is None else {SEAL: call.seal}),
        }
        for call in message.tool_calls
    ]
    thoughts = {} if message.reasoning is None else message.reasoning.parts
    return {"role": message.role, "content": message.content or None, **thoughts, "tool_calls": calls}


def from_answer(answer: JsonObject, request: ModelRequest) -> ModelResponse:
    """Return the response that an answer means; raise ValueError if it is malformed."""
    completion = _Completion.model_validate(answer)
    if not completion.choices:
        raise ValueError("there are no choices")
    choice, names = completion.choices[0], wire_names(request)
    asked = choice.message.tool_calls or []
    refuse_cut("openai_compat", [call.function.name for call in asked], choice.finish_reason)
    ids = unique_call_ids(request, (call.id for call in asked))
    calls = tuple(
        ToolRequest(
            call_id=call_id,
            tool=names.full(call.function.name),
            args=_args(call.function),
            seal=call.extra_content if isinstance(call.extra_content, dict) else None,
        )
        for call_id, call in zip(ids, asked, strict=True)
    )
    thoughts = _thoughts(answer) if calls else {}
    refusal = choice.message.refusal
    envelope = parse_envelope(_text(choice.message.content) or refusal or "")
    usage = completion.usage or _Usage()
    reason = "tool_calls" if calls else choice.finish_reason or "stop"  # some services say "stop" all the same
    return ModelResponse(
        content=envelope.content,
        tool_calls=calls,
        confidence=envelope.confidence,
        rationale=envelope.rationale,
        signal=envelope.signal,
        stop_reason="refusal" if refusal else STOP_REASONS.get(reason, reason),
        usage=Usage(input_tokens=usage.prompt_tokens or 0, output_tokens=usage.completion_tokens or 0),
        model=completion.model or "",
        reasoning=Reasoning(parts=thoughts) if thoughts else None,
    )


def _thoughts(answer: JsonObject) -> JsonObject:
    """Return what the first choice's message says of its model's thinking, as it came."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    found = message if isinstance(message, dict) else {}
    return {name: found[name] for name, kind in THOUGHTS.items() if isinstance(found.get(name), kind)}


def _text(content: str | list[JsonValue] | None) -> str:
    """Join the text parts of a content that comes in parts."""
    if not isinstance(content, list):
        return content or ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _args(function: _Function) -> JsonObject:
    """Read a call's arguments; a call without any has none, in any of the ways services say so.

    Raise InvalidToolCallError for others; it may be tried again, for a model seldom writes the same nonsense twice.
    """
    given, args = function.arguments, None
    if isinstance(given, dict):
        return given
    try:
        args = load_json(given) if isinstance(given, str) and given.strip() else {}
    except ValueError as error:
        raise _unreadable(function, f"are not JSON: {error}") from error
    if args is None:
        return {}
    if not isinstance(args, dict):
        raise _unreadable(function, "are not a JSON object")
    return args


def _unreadable(function: _Function, what: str) -> InvalidToolCallError:
    given = function.arguments
    raw = given if isinstance(given, str) else dump_json(given)
    message = f"openai_compat: the arguments of {function.name[:80]!r} {what[:200]}; it may pass; if it stays, try another model"
    return InvalidToolCallError(message, tool_name=function.name, raw_arguments=raw, retryable=True)


#: Without the last part, a streamed answer does not say how many tokens it took.
DIALECT: Final = Dialect(
    PATH, to_body, from_answer, OpenAiAssembly, {"stream": True, "stream_options": {"include_usage": True}}
)
