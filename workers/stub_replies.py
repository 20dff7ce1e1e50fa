"""What the stub model says: one deterministic answer to one conversation, in either dialect.

A conversation is answered by the first of these that applies:

1. a scripted reply (from a YAML file) whose `match`, `turn` and `model` fit;
2. after answers of tools: their text, so that every conversation comes to its end;
3. lines `call NAME {json}` in the user's last message: calls of those tools; `call {json}` or
   `call` alone means the first offered tool;
4. an echo of the user's last message.

The model `envelope` ends what it says with the turn envelope, so that gates can be tried; `thinking` thinks before it calls
tools, and wants to be shown what it thought. Pure: how
it travels, and what goes wrong on the way, is `stub_llm`'s.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from pydantic import Field

from orchestrator.contracts.base import Frozen, JsonObject, dump_json, load_json

_CALL: Final = re.compile(r"call(?:[ \t]+(?P<name>[A-Za-z0-9_.:-]+))?(?:[ \t]+(?P<args>\{.*\}))?")
#: The model that thinks.
THINKING: Final = "thinking"
_ENVELOPE: Final = dump_json({"confidence": 0.9, "confidence_rationale": "the stub is sure", "signal": "success"})


class BadRequest(Exception):
    """The request is not one that a real service takes."""


class Said(Frozen):
    """One turn of a conversation, whatever its dialect."""

    role: str
    text: str = ""
    call_ids: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


class Conversation(Frozen):
    """What a request asks: turns without the system prompt, names of the tools on offer."""

    model: str
    turns: tuple[Said, ...]
    tools: tuple[str, ...] = ()
    digest: str = ""


class StubCall(Frozen):
    """A tool call that the stub makes; `tool` is the name as offered, or its part after `__`."""

    tool: str
    args: JsonObject = {}


class StubReply(Frozen):
    """A scripted reply: what it waits for, and what is said then.

    `match` is a part of the last message's text, `turn` the number of the assistant's turns so far,
    `model` the model that was asked. What is left out fits everything.
    """

    match: str | None = None
    turn: int | None = Field(default=None, ge=0)
    model: str | None = None
    content: str = ""
    tool_calls: tuple[StubCall, ...] = ()


class Answer(Frozen):
    """What the stub says: text, calls by offered name, counted in words."""

    text: str = ""
    calls: tuple[StubCall, ...] = ()
    prompt_words: int = 0
    digest: str = ""
    thought: str = ""

    def call_id(self, index: int) -> str:
        """Return the id of a call: the same for the same request."""
        return f"call_{sha256(f'{self.digest}|{index}'.encode()).hexdigest()[:20]}"

    @property
    def words(self) -> int:
        """Return how long the answer is."""
        return len(self.text.split()) + 5 * len(self.calls)


def choose_answer(conversation: Conversation, replies: Sequence[StubReply] = ()) -> Answer:
    """Return the answer to a conversation; the same one to the same conversation, always."""
    last = conversation.turns[-1]
    done = sum(turn.role == "assistant" for turn in conversation.turns)
    prompt_words = sum(len(turn.text.split()) for turn in conversation.turns)
    text, calls = _choose(conversation, last, done, replies)
    if conversation.model == "envelope" and not calls:
        text = f"{text}\n{_ENVELOPE}"
    thought = f"I should ask {len(calls)} of my tools." if calls and conversation.model == THINKING else ""
    return Answer(text=text, calls=calls, prompt_words=prompt_words, digest=conversation.digest, thought=thought)


def seal(*words: str) -> str:
    """Return what proves that words are the stub's own, and unchanged."""
    return sha256("|".join(("stub", *words)).encode()).hexdigest()[:16]


def _choose(
    conversation: Conversation, last: Said, done: int, replies: Sequence[StubReply]
) -> tuple[str, tuple[StubCall, ...]]:
    for reply in replies:
        is_fit = reply.match is None or reply.match in last.text
        if is_fit and reply.turn in (None, done) and reply.model in (None, conversation.model):
            return reply.content, tuple(_offered(call, conversation.tools) for call in reply.tool_calls)
    if last.answers:
        return f"the tool said: {last.text}", ()
    calls = tuple(_calls(last.text, conversation.tools))
    if calls and conversation.tools:
        return "", calls
    return f"echo: {last.text}", ()


def _calls(text: str, tools: Sequence[str]) -> list[StubCall]:
    found = []
    for line in text.splitlines():
        match = _CALL.fullmatch(line.strip())
        if match is None:
            continue
        try:
            args = load_json(match["args"] or "{}")
        except ValueError as error:
            raise BadRequest(f"the line {line.strip()[:80]!r} has arguments that are not JSON: {error}") from error
        name = match["name"] or (tools[0] if tools else "")
        found.append(_offered(StubCall(tool=name, args=args if isinstance(args, dict) else {}), tools))
    return found


def _offered(call: StubCall, tools: Sequence[str]) -> StubCall:
    """Return the call under the name that was offered; a name that was not is called all the same."""
    wanted = call.tool.replace(":", "__")
    name = next((t for t in tools if t == wanted), next((t for t in tools if t.endswith(f"__{wanted}")), wanted))
    return call.model_copy(update={"tool": name})
