"""The two dialects that the stub model speaks: read a request, write an answer.

Requests are checked as strictly as the services check them - roles that alternate, answers for
every call, names of tools - so that what the stub takes, they take. What is said is decided by
`stub_replies`.
"""

import re
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Final

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, dump_json
from workers.stub_replies import THINKING, Answer, BadRequest, Conversation, Said, seal

TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_openai(body: JsonObject) -> Conversation:
    """Read a chat completions request, as strictly as a real service; raise BadRequest."""
    turns: list[Said] = []
    open_calls: set[str] = set()
    for index, message in enumerate(_objects(body, "messages")):
        where, role = f"messages[{index}]", message.get("role")
        if role not in ("system", "developer", "user", "assistant", "tool"):
            raise BadRequest(f"{where}.role: {role!r} is no role")
        text = _flat_text(message.get("content"), where)
        if open_calls and role != "tool":
            raise BadRequest(f"{where}: an assistant message with tool_calls must be followed by their answers")
        if role == "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or call_id not in open_calls:
                raise BadRequest(f"{where}.tool_call_id: {call_id!r} answers no call")
            open_calls.discard(call_id)
            turns.append(Said(role="tool", text=text, answers=(call_id,)))
            continue
        calls = _objects(message, "tool_calls") if message.get("tool_calls") else []
        ids = tuple(str(call.get("id")) for call in calls)
        for call in calls:
            function = call.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
                raise BadRequest(f"{where}.tool_calls: a call needs a function with arguments as text")
            name = _tool_name(function.get("name"), where)
            if body.get("model") == THINKING and call.get("extra_content") != _extra(name, str(function["arguments"])):
                raise BadRequest(f"{where}.tool_calls: the call {name} is missing a thought_signature")
        if calls and body.get("model") == THINKING and not message.get("reasoning_content"):
            raise BadRequest(f"{where}: missing reasoning_content in the assistant message with tool_calls")
        open_calls.update(ids)
        if role in ("user", "assistant"):
            turns.append(Said(role=role, text=text, call_ids=ids))
    if open_calls:
        raise BadRequest(f"messages: no answer to {', '.join(sorted(open_calls))}")
    functions = [tool.get("function") for tool in _objects(body, "tools")] if body.get("tools") else []
    names = [_tool_name(f.get("name") if isinstance(f, dict) else None, "tools") for f in functions]
    return _conversation(body, turns, names)


def read_anthropic(body: JsonObject) -> Conversation:
    """Read a messages request, as strictly as a real service; raise BadRequest."""
    if not isinstance(body.get("max_tokens"), int):
        raise BadRequest("max_tokens: field required")
    tools = _objects(body, "tools") if body.get("tools") else []
    names = [_tool_name(tool.get("name"), "tools") for tool in tools]
    if any(not isinstance(tool.get("input_schema"), dict) for tool in tools):
        raise BadRequest("tools: input_schema: field required")
    turns: list[Said] = []
    for index, message in enumerate(_objects(body, "messages")):
        where, role = f"messages[{index}]", message.get("role")
        expected = "user" if index % 2 == 0 else "assistant"
        if role != expected:
            raise BadRequest(f"{where}: roles must alternate, and the first must be user; found {role!r}")
        content = message.get("content")
        plain: JsonObject = {"type": "text", "text": content}
        blocks = [plain] if isinstance(content, str) else _objects(message, "content")
        turn = _read_blocks(blocks, str(role), where, has_tools=bool(names))
        if turn.call_ids and body.get("model") == THINKING and blocks[0].get("type") != "thinking":
            raise BadRequest(f"{where}.content.0: expected `thinking`, found {blocks[0].get('type')!r}")
        if turns and set(turns[-1].call_ids) != set(turn.answers):
            raise BadRequest(f"{where}: tool_use ids and tool_result ids do not match")
        turns.append(turn)
    return _conversation(body, turns, names)


def _read_blocks(blocks: Sequence[JsonObject], role: str, where: str, *, has_tools: bool) -> Said:
    texts: list[str] = []
    results: list[str] = []
    calls: list[str] = []
    answers: list[str] = []
    for block in blocks:
        kind = block.get("type")
        if kind in ("tool_use", "tool_result") and not has_tools:
            raise BadRequest(f"{where}: requests with tool blocks must define tools")
        if kind == "text":
            text = _flat_text(block.get("text"), where)
            if not text.strip():
                raise BadRequest(f"{where}: text content blocks must be non-empty")
            texts.append(text)
        elif kind == "thinking":
            if block.get("signature") != seal(str(block.get("thinking"))):
                raise BadRequest(f"{where}: invalid `signature` in `thinking` block")
        elif kind == "tool_use":
            _tool_name(block.get("name"), where)
            calls.append(str(block.get("id")))
        elif kind == "tool_result":
            if texts:
                raise BadRequest(f"{where}: tool_result blocks go before text")
            answers.append(str(block.get("tool_use_id")))
            results.append(_flat_text(block.get("content"), where))
        else:
            raise BadRequest(f"{where}: {kind!r} is no type of content block")
    return Said(role=role, text="\n".join([*results, *texts]), call_ids=tuple(calls), answers=tuple(answers))


def _conversation(body: JsonObject, turns: Sequence[Said], tools: Sequence[str]) -> Conversation:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model: field required")
    if not turns:
        raise BadRequest("messages: at least one message is needed")
    digest = sha256(dump_json(body).encode()).hexdigest()
    return Conversation(model=model, turns=tuple(turns), tools=tuple(tools), digest=digest)


def _objects(body: JsonObject, key: str) -> list[JsonObject]:
    value = body.get(key)
    if not isinstance(value, list):
        raise BadRequest(f"{key}: a list is needed")
    objects = [item for item in value if isinstance(item, dict)]
    if len(objects) != len(value):
        raise BadRequest(f"{key}: each item must be an object")
    return objects


def _flat_text(content: JsonValue, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise BadRequest(f"{where}.content: text or a list of parts is needed")
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _tool_name(name: JsonValue, where: str) -> str:
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise BadRequest(f"{where}: {name!r} is no tool name; letters, digits, _ and - only, at most 64")
    return name


def openai_body(answer: Answer, model: str) -> JsonObject:
    """Return an answer as a chat completion."""
    message: JsonObject = {"role": "assistant", "content": answer.text or None}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    if answer.calls:
        message["tool_calls"] = _openai_calls(answer)
    choice: JsonObject = {"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}
    return {**_openai_head(answer, model, "chat.completion"), "choices": [choice], "usage": _openai_usage(answer)}


def _openai_calls(answer: Answer) -> list[JsonValue]:
    return [
        {
            "id": answer.call_id(index),
            "type": "function",
            "function": {"name": call.tool, "arguments": dump_json(call.args)},
            **({"extra_content": _extra(call.tool, dump_json(call.args))} if answer.thought else {}),
        }
        for index, call in enumerate(answer.calls)
    ]


def _extra(name: str, arguments: str) -> JsonObject:
    return {"stub": {"thought_signature": seal(name, arguments)}}


def _openai_head(answer: Answer, model: str, kind: str) -> JsonObject:
    return {"id": f"chatcmpl-{answer.digest[:20]}", "object": kind, "created": 0, "model": model}


def _openai_usage(answer: Answer) -> JsonObject:
    total = answer.prompt_words + answer.words
    return {"prompt_tokens": answer.prompt_words, "completion_tokens": answer.words, "total_tokens": total}


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else "stop"


async def openai_stream(answer: Answer, model: str, *, with_usage: bool, cut: bool) -> AsyncIterator[bytes]:
    """Yield an answer as server-sent events: the role, words, calls, the end, usage where asked for."""
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": part} for part in _parts(answer.thought)]
    deltas += [{"content": part} for part in _parts(answer.text)]
    for index, call in enumerate(_openai_calls(answer)):
        deltas.append({"tool_calls": [{"index": index, **(call if isinstance(call, dict) else {})}]})
    head = _openai_head(answer, model, "chat.completion.chunk")
    for delta in deltas[:1] if cut else deltas:
        yield _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    if cut:
        return
    yield _event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(answer)}]})
    if with_usage:
        yield _event({**head, "choices": [], "usage": _openai_usage(answer)})
    yield b"data: [DONE]\n\n"


def _parts(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _event(data: JsonObject) -> bytes:
    return f"data: {dump_json(data)}\n\n".encode()


def anthropic_body(answer: Answer, model: str) -> JsonObject:
    """Return an answer as a message."""
    content: list[JsonValue] = []
    if answer.thought:
        content.append({"type": "thinking", "thinking": answer.thought, "signature": seal(answer.thought)})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    for index, call in enumerate(answer.calls):
        call_id = answer.call_id(index).replace("call_", "toolu_")
        content.append({"type": "tool_use", "id": call_id, "name": call.tool, "input": call.args})
    return {
        "id": f"msg_{answer.digest[:20]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if answer.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": answer.prompt_words, "output_tokens": answer.words},
    }


async def anthropic_stream(answer: Answer, model: str, *, cut: bool) -> AsyncIterator[bytes]:
    """Yield an answer as server-sent events: the message's head, its blocks in parts, the end with its usage."""
    whole = anthropic_body(answer, model)
    content, usage = whole["content"], whole["usage"]
    head: JsonObject = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": answer.prompt_words}}
    yield _named({"type": "message_start", "message": head})
    for index, block in enumerate(content if isinstance(content, list) else ()):
        given = block if isinstance(block, dict) else {}
        empty, deltas = _in_deltas(given)
        yield _named({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            yield _named({"type": "content_block_delta", "index": index, "delta": delta})
            if cut:
                return
        yield _named({"type": "content_block_stop", "index": index})
    yield _named({"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}, "usage": usage})
    yield _named({"type": "message_stop"})


def _in_deltas(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    """Return a block as it begins, and what then adds to it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in _parts(str(block["text"]))]
        case "thinking":
            said: list[JsonObject] = [
                {"type": "thinking_delta", "thinking": part} for part in _parts(str(block["thinking"]))
            ]
            said.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, said
        case _:
            given = _parts(dump_json(block["input"]))
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in given]


def _named(data: JsonObject) -> bytes:
    return f"event: {data['type']}\n".encode() + _event(data)
