"""Messages that a model sees, and what is asked of a provider and given back."""

from typing import Literal, TypeAlias

from pydantic import Field

from orchestrator.contracts.base import Frozen, JsonObject

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class ToolRequest(Frozen):
    """A tool call that a model asks for; `tool` is the full name `server:tool`.

    `seal` is what the model's service wants back with the call, unchanged (see Reasoning).
    """

    call_id: str
    tool: str
    args: JsonObject = {}
    seal: JsonObject | None = None


class Reasoning(Frozen):
    """What a model thought before it asked for tools, as its service wants it back with their answers.

    It is in that service's own form, opaque to everybody else. `by` is `provider/model`: nobody else is shown it. Services that think refuse to go on without it, and others refuse it.
    """

    by: str = ""
    parts: JsonObject = {}


class Message(Frozen):
    """One entry of a session's context, written once and never changed.

    An assistant's message may carry `tool_calls`, and the `reasoning` behind them; each is answered by one tool
    message with its `call_id`. `skill` says which agent the message belongs to; `source` who added it, where that was a hook:
    `hook:NAME@EVENT`.
    """

    role: Role
    content: str = ""
    tool_calls: tuple[ToolRequest, ...] = ()
    call_id: str | None = None
    skill: str = ""
    source: str = ""
    reasoning: Reasoning | None = None


class ToolSchema(Frozen):
    """A tool as a model is shown it: full name, description, JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: JsonObject = Field(default_factory=dict)


class Usage(Frozen):
    """Tokens of one model call."""

    input_tokens: int = 0
    output_tokens: int = 0


class ModelRequest(Frozen):
    """One model call. `state` and `turn` are for policies and transcripts; no real model sees them."""

    session_id: str
    skill: str
    model: str = ""
    system: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSchema, ...] = ()
    state: JsonObject = {}
    turn: int = 0
    timeout_seconds: float = 120.0


class ModelResponse(Frozen):
    """What a model said, and which tools it wants called.

    `confidence`, `rationale` and `signal` are what the model declared of its turn, where it did; `reasoning` goes with
    `tool_calls`.
    """

    content: str = ""
    tool_calls: tuple[ToolRequest, ...] = ()
    confidence: float | None = None
    rationale: str | None = None
    signal: str | None = None
    stop_reason: str = "end_turn"
    usage: Usage = Usage()
    model: str = ""
    reasoning: Reasoning | None = None
