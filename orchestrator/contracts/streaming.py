"""Pieces of an answer as they stream in: plain values, each with `to_dict` for an event's payload.

`raw` is what the service sent; it never leaves the process.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject


class ContentBlockType(StrEnum):
    """What kind of piece it is."""

    TEXT = "text"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextContent:
    """Text."""

    text: str = ""
    raw: JsonObject | None = field(default=None, repr=False)
    type: ContentBlockType = ContentBlockType.TEXT

    def to_dict(self) -> JsonObject:
        """Return `type` and `text`."""
        return {"type": self.type.value, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingContent:
    """What the model thinks."""

    text: str = ""
    raw: JsonObject | None = field(default=None, repr=False)
    type: ContentBlockType = ContentBlockType.THINKING

    def to_dict(self) -> JsonObject:
        """Return `type` and `text`."""
        return {"type": self.type.value, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallContent:
    """A tool call that is asked for; `arguments` is None until they are known."""

    id: str = ""
    name: str = ""
    arguments: JsonObject | None = None
    raw: JsonObject | None = field(default=None, repr=False)
    type: ContentBlockType = ContentBlockType.TOOL_CALL

    def to_dict(self) -> JsonObject:
        """Return `type`, `id`, `name` and `arguments`."""
        return {"type": self.type.value, "id": self.id, "name": self.name, "arguments": self.arguments}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResultContent:
    """What a tool call came to."""

    tool_call_id: str = ""
    output: JsonValue = None
    error: str | None = None
    raw: JsonObject | None = field(default=None, repr=False)
    type: ContentBlockType = ContentBlockType.TOOL_RESULT

    def to_dict(self) -> JsonObject:
        """Return `type`, `tool_call_id`, `output`, and `error` where there is one."""
        found: JsonObject = {"type": self.type.value, "tool_call_id": self.tool_call_id, "output": self.output}
        return {**found, "error": self.error} if self.error else found
