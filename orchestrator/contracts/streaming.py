"""Pieces of an answer as they stream in: plain values, each with `to_dict` for an event's payload.

`raw` is what the service sent; it never leaves the process. A StreamPiece is what a session's watchers are given.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, Shared


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


#: Before the first piece of all.
FIRST_OFFSET: Final = "0-0"

#: begin: an answer begins, what came of an earlier try counts no more; end: it is whole, and on its way to the journal;
#: failed: the try ended without an answer; gap: pieces before this one are no longer kept.
PieceKind: TypeAlias = Literal["begin", "text", "thinking", "tool", "end", "failed", "gap"]


class StreamPiece(Shared):
    """One piece of what a session's model is writing. `offset` is where a client goes on that has seen it.

    `skill`, `turn` and `attempt` (from 1) say on `begin` whose answer it is; `text` is the piece's own: a tool's name
    for `tool`.
    """

    kind: PieceKind
    offset: str = ""
    text: str = ""
    skill: str = ""
    turn: int = 0
    attempt: int = 0
