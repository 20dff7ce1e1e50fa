"""One call of a model, as modules in one process speak of it: request, response, tools, usage.

Fields that are not declared are kept, so that a provider's own options pass through. On the wire a
value leaves out what is None (`to_wire`). The durable path speaks contracts/messages.py instead,
where every field has a meaning for the runtime.
"""

from decimal import Decimal
from typing import Literal, TypeAlias

from pydantic import AliasChoices, Field, field_validator

from orchestrator.contracts.base import JsonObject, Lenient, Open
from orchestrator.contracts.content import ContentBlock

ChatRole: TypeAlias = Literal["system", "developer", "user", "assistant", "function", "tool"]


def refuse_float_cost(value: object) -> object:
    """Return a cost unchanged; a float is refused, for it has lost the exact amount already."""
    if isinstance(value, float):
        raise ValueError(f"cost_usd must be Decimal, not float: got {value!r}; give a Decimal, an int or a string")
    return value


class Message(Open):
    """One message; `content` is text or blocks and never None."""

    role: ChatRole
    content: str | tuple[ContentBlock, ...]
    name: str | None = None
    tool_call_id: str | None = None
    metadata: JsonObject | None = None


class ToolSpec(Open):
    """A tool as a model is shown it; `parameters` is a JSON Schema."""

    name: str
    parameters: JsonObject
    description: str | None = None


class ToolCall(Open):
    """A tool call that a response asks for."""

    id: str
    name: str
    arguments: JsonObject


class ResponseFormatText(Lenient):
    """The answer is text."""

    type: Literal["text"] = "text"


class ResponseFormatJson(Lenient):
    """The answer is any JSON."""

    type: Literal["json"] = "json"


class ResponseFormatJsonSchema(Lenient):
    """The answer is JSON of this schema, which is called `schema` on the wire and read under both names."""

    type: Literal["json_schema"] = "json_schema"
    json_schema: JsonObject = Field(
        validation_alias=AliasChoices("json_schema", "schema"), serialization_alias="schema"
    )
    strict: bool | None = None


ResponseFormat: TypeAlias = ResponseFormatText | ResponseFormatJson | ResponseFormatJsonSchema


class ChatRequest(Open):
    """What is asked of a model. `timeout` is in seconds."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] | None = None
    response_format: ResponseFormat | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    conversation_id: str | None = None
    stream: bool | None = False
    metadata: JsonObject | None = None
    model: str | None = None
    tool_choice: str | JsonObject | None = None
    stop: tuple[str, ...] | None = None
    reasoning_effort: str | None = None
    timeout: float | None = None


class Usage(Open):
    """Tokens of one call, and what it cost: None is unknown, "0" is free. Sums are not checked."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    reasoning_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: Decimal | None = None

    _cost_is_exact = field_validator("cost_usd", mode="before")(refuse_float_cost)


class Degradation(Open):
    """What was asked for, what was given instead, and why."""

    requested: str
    actual: str
    reason: str


class ChatResponse(Open):
    """What a model answered."""

    content: tuple[ContentBlock, ...]
    tool_calls: tuple[ToolCall, ...] | None = None
    usage: Usage | None = None
    degradation: Degradation | None = None
    finish_reason: str | None = None
    metadata: JsonObject | None = None
