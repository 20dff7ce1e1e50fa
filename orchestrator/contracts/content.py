"""What a message is made of: typed blocks, told apart by `type`.

A block keeps fields that it does not declare, because services add their own. Blocks are the form of
the chat contract (contracts/chat.py), which modules in one process speak; what a durable session
keeps of its conversation is contracts/messages.py.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from orchestrator.contracts.base import JsonObject, Open

#: Who may see a block; None says nothing about it.
Visibility: TypeAlias = Literal["internal", "developer", "user"]


class Block(Open):
    """What every block has."""

    visibility: Visibility | None = None


class TextBlock(Block):
    """Text."""

    type: Literal["text"] = "text"
    text: str


class ThinkingBlock(Block):
    """What a model thought; `signature` is the service's seal on it, to be sent back unchanged."""

    type: Literal["thinking"] = "thinking"
    thinking: str
    signature: str | None = None
    content: tuple[Any, ...] | None = None


class RedactedThinkingBlock(Block):
    """What a model thought, in a form that only its service reads."""

    type: Literal["redacted_thinking"] = "redacted_thinking"
    data: str


class ToolCallBlock(Block):
    """A tool call that a model asks for."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    input: JsonObject


class ToolResultBlock(Block):
    """What a tool call came to; `output` must be given and may be null."""

    type: Literal["tool_result"] = "tool_result"
    tool_call_id: str
    output: Any


class ImageBlock(Block):
    """An image; `source` says where it is or holds it, in the service's own form."""

    type: Literal["image"] = "image"
    source: JsonObject


class ReasoningBlock(Block):
    """A model's reasoning, whole and in short, in the service's own form."""

    type: Literal["reasoning"] = "reasoning"
    content: tuple[Any, ...]
    summary: tuple[Any, ...]


ContentBlock: TypeAlias = Annotated[
    TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolCallBlock | ToolResultBlock | ImageBlock | ReasoningBlock,
    Field(discriminator="type"),
]
