"""Speak Anthropic's messages: POST {base_url}/v1/messages.

This module translates a request and its answer, both pure, and sends through HttpChannel. It does not retry. Answers of tools travel in the user's turn, before its text, and
turns of the same role are joined: the service refuses anything else. What the model thought before it called tools goes
back in front of its calls, as it was (reasoning.py).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import httpx2
from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, Reasoning, ToolRequest, Usage
from workers.providers.assembling import AnthropicAssembly
from workers.providers.dialect import Dialect, HttpProvider, Wire, refuse_cut, sampling
from workers.providers.envelope import parse_envelope
from workers.providers.handover import opening_of, with_handovers
from workers.providers.http import HttpChannel
from workers.providers.names import WireNames, unique_call_ids, wire_call_id, wire_names
from workers.providers.options import HttpOptions, read_base_url, read_headers, read_key, read_model, read_options

DEFAULT_URL: Final = "https://api.anthropic.com"
PATH: Final = "/v1/messages"
API_VERSION: Final = "2023-06-01"
#: The service requires a limit; this is a long turn.
DEFAULT_MAX_TOKENS: Final = 4096
THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


class _Block(Wire):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: JsonObject | None = None


class _Usage(Wire):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Answer(Wire):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage | None = None
    model: str | None = None


def build(spec: AppSpec, *, env: Mapping[str, str], client: httpx2.AsyncClient | None = None) -> HttpProvider:
    """Build the provider from `spec.model`; raise ConfigError. A base_url may end in /v1 or not."""
    options, model = read_options(spec, HttpOptions), read_model(spec)
    key = read_key(spec, options, env)
    url = read_base_url(spec, options, DEFAULT_URL, key, env).removesuffix("/v1")
    headers = {"anthropic-version": API_VERSION, **read_headers(spec, options)}
    channel = HttpChannel(
        "anthropic", url, headers=headers, key=key, key_header="x-api-key", key_prefix="", client=client
    )
    return HttpProvider(DIALECT, channel, model=model, options=options)


def to_body(request: ModelRequest, *, model: str, options: HttpOptions) -> JsonObject:
    """Return the JSON of a request. System messages at the context's start join the system prompt."""
    names, has_tools = wire_names(request), bool(request.tools)
    opening = opening_of(request.messages)
    system = "\n\n".join(text for text in (request.system, *(m.content for m in opening)) if text.strip())
    turns = _to_turns(with_handovers(request.messages[len(opening) :], request.skill), names, has_tools=has_tools)
    body: JsonObject = {"model": model, "max_tokens": DEFAULT_MAX_TOKENS, "messages": turns}
    if system:
        body["system"] = system
    if has_tools:
        body["tools"] = [
            {
                "name": names.wire(tool.name),
                "description": tool.description,
                "input_schema": {"type": "object", **tool.parameters},
            }
            for tool in request.tools
        ]
    return {**body, **sampling(options), **options.extra_body}


def _to_turns(messages: Iterable[Message], names: WireNames, *, has_tools: bool) -> list[JsonValue]:
    """Join messages into turns that alternate, begin with the user's, and are never empty."""
    turns: list[tuple[str, list[JsonObject]]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _to_blocks(message, names, has_tools=has_tools)
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns or turns[0][0] == "assistant":
        turns.insert(0, ("user", [{"type": "text", "text": "Begin."}]))
    for _, blocks in turns:  # a stable sort: what answers a call goes before what is said besides
        blocks.sort(key=lambda block: block["type"] != "tool_result")
    return [{"role": role, "content": list(blocks)} for role, blocks in turns]


def _to_blocks(message: Message, names: WireNames, *, has_tools: bool) -> list[JsonObject]:
    text: list[JsonObject] = [{"type": "text", "text": message.content}] if message.content.strip() else []
    if message.role == "tool":
        if not has_tools:
            return text
        call_id = wire_call_id(message.call_id or "")
        return [{"type": "tool_result", "tool_use_id": call_id, "content": message.content}]
    if has_tools and message.reasoning is not None:
        thoughts = message.reasoning.parts.get("blocks")
        text[:0] = [block for block in thoughts if isinstance(block, dict)] if isinstance(thoughts, list) else []
    for call in message.tool_calls:
        if has_tools:
            call_id = wire_call_id(call.call_id)
            text.append({"type": "tool_use", "id": call_id, "name": names.wire(call.tool), "input": call.args})
        else:  # the service takes tool blocks only beside tools; an agent without any reads them as text
            text.append({"type": "text", "text": f"[called {call.tool} with {dump_json(call.args)}]"})
    return text


def from_answer(answer: JsonObject, request: ModelRequest) -> ModelResponse:
    """Return the response that an answer means; raise ValueError if it is malformed."""
    found, names = _Answer.model_validate(answer), wire_names(request)
    asked = [block for block in found.content if block.type == "tool_use"]
    if any(not block.name for block in asked):
        raise ValueError("a tool_use block has no name")
    refuse_cut("anthropic", [block.name or "" for block in asked], found.stop_reason)
    ids = unique_call_ids(request, (block.id for block in asked))
    calls = tuple(
        ToolRequest(call_id=call_id, tool=names.full(block.name or ""), args=block.input or {})
        for call_id, block in zip(ids, asked, strict=True)
    )
    thoughts = _thoughts(answer) if calls else []
    envelope = parse_envelope("".join(block.text or "" for block in found.content if block.type == "text"))
    usage = found.usage or _Usage()
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return ModelResponse(
        content=envelope.content,
        tool_calls=calls,
        confidence=envelope.confidence,
        rationale=envelope.rationale,
        signal=envelope.signal,
        stop_reason=found.stop_reason or "end_turn",
        usage=Usage(input_tokens=(usage.input_tokens or 0) + cached, output_tokens=usage.output_tokens or 0),
        model=found.model or "",
        reasoning=Reasoning(parts={"blocks": thoughts}) if thoughts else None,
    )


def _thoughts(answer: JsonObject) -> list[JsonValue]:
    """Return the blocks in which the model thought, sealed ones too, as they came."""
    content = answer.get("content")
    blocks = content if isinstance(content, list) else []
    return [block for block in blocks if isinstance(block, dict) and block.get("type") in THOUGHTS]


DIALECT: Final = Dialect(PATH, to_body, from_answer, AnthropicAssembly, {"stream": True})
