"""Put a streamed answer together again: events in, its pieces out, and at the end the answer as it would be unstreamed.

So there is one reader of answers, whichever way they came. An answer that broke off before its end is malformed, and asked
for again. Pure.
"""

from operator import itemgetter
from typing import Final, Literal, Protocol

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.ports import Piece

#: More calls, or blocks, than any answer has: what comes in parts must not fill the memory by its numbers.
MOST_PARTS: Final = 1_000
#: Blocks of Anthropic's whose words are shown as they come: each has them under its own name.
SAID: Final[tuple[Literal["text", "thinking"], ...]] = ("text", "thinking")


class Assembly(Protocol):
    """One answer on its way. Both methods raise ValueError for what cannot be read."""

    def add(self, event: JsonObject) -> list[Piece]:
        """Take an event; return what it adds that can be shown."""
        ...

    def answer(self) -> JsonObject:
        """Return the whole answer."""
        ...


class OpenAiAssembly:
    """Chat completion chunks."""

    def __init__(self) -> None:
        self._head: JsonObject = {}
        self._texts: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
        self._details: list[JsonObject] = []
        #: Index, head and arguments of each call, as they began; and which one an index is at.
        self._calls: list[tuple[int, JsonObject, list[str]]] = []
        self._at: dict[int, int] = {}
        self._reason: JsonValue = None

    def add(self, event: JsonObject) -> list[Piece]:
        """Take a chunk. The last one before the end may have usage, and no choice."""
        _refuse_error(event)
        for name in ("model", "usage"):
            if event.get(name) is not None:
                self._head[name] = event[name]
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return []
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return []
        # What services that show their thinking call it.
        thoughts = (delta.get(name) for name in ("reasoning_content", "reasoning"))
        pieces = [Piece("thinking", thought) for thought in thoughts if isinstance(thought, str)]
        for name, parts in self._texts.items():
            if isinstance(text := delta.get(name), str):
                parts.append(text)
                pieces += [Piece("text", text)] if name != "reasoning_content" else []
        details = delta.get("reasoning_details")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict):
                self._add_detail(detail)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                pieces += self._add_call(call)
        return pieces

    def _add_detail(self, detail: JsonObject) -> None:
        """Take a part of the reasoning: text that goes on is joined, everything else stands by itself, in order."""
        last = self._details[-1] if self._details else {}
        goes_on = last.get("signature") is None and all(
            last.get(name) == detail.get(name) for name in ("type", "index")
        )
        for name in ("text", "summary"):
            before, text = last.get(name), detail.get(name)
            if goes_on and isinstance(before, str) and isinstance(text, str):
                said = {key: value for key, value in detail.items() if value is not None}
                self._details[-1] = {**last, **said, name: before + text}
                return
        if len(self._details) == MOST_PARTS:
            raise ValueError(f"reasoning_details: over {MOST_PARTS} of them")
        self._details.append(detail)

    def _add_call(self, call: JsonObject) -> list[Piece]:
        index = call.get("index", 0)
        if not isinstance(index, int) or not 0 <= index < MOST_PARTS:
            raise ValueError(f"tool_calls: index {index!r:.20}")
        function = call.get("function")
        given = function if isinstance(function, dict) else {}
        call_id = call.get("id") or None
        is_new = index not in self._at
        if not is_new:  # another id is another call: some services give each of several calls the index 0, or none
            known = self._calls[self._at[index]][1]["id"]
            is_new = None not in (call_id, known) and call_id != known
        if is_new:
            if len(self._calls) == MOST_PARTS:
                raise ValueError(f"tool_calls: over {MOST_PARTS} of them")
            self._at[index] = len(self._calls)
            self._calls.append((index, {"id": None, "name": "", "extra_content": None}, []))
        _, head, parts = self._calls[self._at[index]]
        head["id"] = call_id or head["id"]
        head["extra_content"] = call.get("extra_content") or head["extra_content"]
        name = given.get("name")
        if isinstance(name, str) and name and not head["name"]:
            head["name"] = name
        arguments = given.get("arguments")
        if isinstance(arguments, dict):
            arguments = dump_json(arguments)
        if isinstance(arguments, str):
            parts.append(arguments)
        return [Piece("tool", str(head["name"]))] if is_new and head["name"] else []

    def answer(self) -> JsonObject:
        """Return the completion."""
        if self._reason is None:
            raise ValueError("the stream broke off")
        message: JsonObject = {name: "".join(parts) for name, parts in self._texts.items() if parts}
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": head["id"],
                    "function": {"name": head["name"], "arguments": "".join(parts)},
                    "extra_content": head["extra_content"],
                }
                for _, head, parts in sorted(self._calls, key=itemgetter(0))
            ]
        if self._details:
            message["reasoning_details"] = list(self._details)
        return {**self._head, "choices": [{"message": message, "finish_reason": self._reason}]}


class AnthropicAssembly:
    """Message events."""

    def __init__(self) -> None:
        self._message: JsonObject = {}
        self._usage: JsonObject = {}
        self._blocks: dict[int, tuple[JsonObject, list[str]]] = {}
        self._is_whole = False

    def add(self, event: JsonObject) -> list[Piece]:
        """Take an event; kinds that are not known are passed over, as the service asks of its clients."""
        _refuse_error(event)
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._message = dict(message) if isinstance(message, dict) else {}
                self._add_usage(self._message.get("usage"))
            case "content_block_start":
                return self._start(event)
            case "content_block_delta":
                return self._extend(event)
            case "message_delta":
                delta = event.get("delta")
                if isinstance(delta, dict) and delta.get("stop_reason"):
                    self._message["stop_reason"] = delta["stop_reason"]
                self._add_usage(event.get("usage"))
            case "message_stop":
                self._is_whole = True
        return []

    def _add_usage(self, usage: JsonValue) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: count for name, count in usage.items() if count is not None}

    def _start(self, event: JsonObject) -> list[Piece]:
        index, block = event.get("index"), event.get("content_block")
        if not isinstance(index, int) or not 0 <= index < MOST_PARTS or not isinstance(block, dict):
            raise ValueError(f"content_block_start: index {index!r:.20}")
        self._blocks[index] = (dict(block), [])
        name = block.get("name")
        if block.get("type") == "tool_use" and isinstance(name, str):
            return [Piece("tool", name)]
        for kind in SAID:
            said = block.get(kind)
            if isinstance(said, str) and said:
                self._blocks[index][1].append(said)
                return [Piece(kind, said)]
        return []

    def _extend(self, event: JsonObject) -> list[Piece]:
        index, delta = event.get("index"), event.get("delta")
        if not isinstance(index, int) or index not in self._blocks or not isinstance(delta, dict):
            raise ValueError(f"content_block_delta: index {index!r:.20}")
        block, parts = self._blocks[index]
        for kind in SAID:
            part = delta.get(kind)
            if isinstance(part, str):
                parts += [part] if block.get("type") == kind else []
                return [Piece(kind, part)]
        if isinstance(part := delta.get("partial_json"), str):
            parts.append(part)
        if isinstance(seal := delta.get("signature"), str):
            block["signature"] = f"{block.get('signature') or ''}{seal}"
        return []

    def answer(self) -> JsonObject:
        """Return the message."""
        if not self._is_whole:
            raise ValueError("the stream broke off")
        content: list[JsonValue] = []
        for _, (block, parts) in sorted(self._blocks.items()):
            text = "".join(parts)
            if block.get("type") == "tool_use":
                content.append({**block, "input": _input(block, text)})
            elif block.get("type") in SAID:
                content.append({**block, str(block["type"]): text})
            elif block.get("type") == "redacted_thinking":
                content.append(block)
        return {**self._message, "content": content, "usage": self._usage}


def _input(block: JsonObject, text: str) -> JsonValue:
    """Return a tool's input; what came in parts is JSON only once it is whole."""
    return load_json(text) if text.strip() else block.get("input") or {}


def _refuse_error(event: JsonObject) -> None:
    """Raise for an error that comes in the middle of an answer."""
    error = event.get("error")
    if error:
        said = error.get("message") if isinstance(error, dict) else error
        raise ValueError(f"the service broke it off: {said!s:.200}")
