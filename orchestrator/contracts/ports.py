"""What the runtime asks of the world, as protocols: model providers, tools, wake-ups.

What hooks, and the processing of their answers, ask of it is at the end. A method of theirs may answer at
once or be awaited where its type says so: both kinds of modules exist, and both are called the same way.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import JsonValue

from orchestrator.contracts.approvals import ApprovalRequest, ApprovalResponse
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.hook_result import ApprovalDefault, MessageLevel
from orchestrator.contracts.messages import ModelRequest, ModelResponse, ToolSchema
from orchestrator.contracts.tool_questions import ToolAnswers


class Provider(Protocol):
    """One model service. Retries, back-off and deadlines are the runtime's, never a provider's."""

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Make one call. Raise an LLMError (contracts/provider_errors.py); honour cancellation."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class Piece(NamedTuple):
    """A part of an answer as it is written: text, thinking, or the name of a tool that will be called."""

    kind: Literal["text", "thinking", "tool"]
    text: str


@runtime_checkable
class StreamingProvider(Provider, Protocol):
    """A provider that can also tell its answer while it is written."""

    async def stream(self, request: ModelRequest, on_piece: Callable[[Piece], None]) -> ModelResponse:
        """Make one call and return the whole answer; tell `on_piece` its parts before. It must not block."""
        ...


class Toolbox(Protocol):
    """The MCP servers of one app."""

    async def catalogue(self) -> Mapping[str, ToolSchema]:
        """Return every tool by full name `server:tool`; raise ToolUnavailable."""
        ...

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Call a tool by its full name, with `answers` once more; raise ToolError, ToolTimeout, ToolNeedsInput or ToolUnavailable."""
        ...

    def accepts(self, tool: str, argument: str) -> bool:
        """Say whether a tool's schema names this argument; needs the catalogue, else raises ToolUnavailable."""
        ...

    async def aclose(self) -> None:
        """Close every client."""
        ...


class Wakeups(Protocol):
    """Sends wake-ups. They carry no truth: one that is lost is sent again by the scheduler."""

    def send(self, queue: str, session_ids: Sequence[str]) -> None:
        """Send one message that names these sessions."""
        ...

    def backlog(self, queue: str) -> int:
        """Return how many messages lie in the broker's list; raise OSError where the broker does not say."""
        ...


class HookHandler(Protocol):
    """One listener to an event: a function, or an object with `__call__`, plain or async."""

    def __call__(self, event: str, data: Any, /) -> object:
        """Answer with None, a mapping of HookResult's fields or a HookResult, at once or awaited.

        `data` is the handler's own copy; what it does to it no other handler sees.
        """
        ...


class ApprovalSystem(Protocol):
    """Where a hook's question goes to a person."""

    def request_approval(
        self, prompt: str, options: list[str], timeout: float, default: ApprovalDefault, /
    ) -> Awaitable[str] | str:
        """Return one of the options. Raise ApprovalTimeoutError after `timeout` seconds: nobody else keeps the time."""
        ...


class ApprovalProvider(Protocol):
    """Where a tool's request for approval is shown as a dialog."""

    async def request_approval(self, request: ApprovalRequest) -> ApprovalResponse:
        """Return what was answered; raise ApprovalTimeoutError when the request's time ran out."""
        ...


class DisplaySystem(Protocol):
    """Where a hook's message is shown."""

    def show_message(self, message: str, level: MessageLevel, source: str = "hook", /) -> object:
        """Show it, whole. Plain, never awaited."""
        ...


class ContextManager(Protocol):
    """The messages that a model sees, each a mapping with `role` and `content`, oldest first."""

    def add_message(self, message: dict[str, Any], /) -> Awaitable[None] | None:
        """Append one."""
        ...

    async def get_messages_for_request(
        self, token_budget: int | None = None, provider: Any | None = None
    ) -> list[dict[str, Any]]:
        """Return what fits into a request to this provider, within so many tokens."""
        ...

    async def get_messages(self) -> list[dict[str, Any]]:
        """Return all of them."""
        ...

    async def set_messages(self, messages: list[dict[str, Any]]) -> None:
        """Replace all of them."""
        ...

    async def clear(self) -> None:
        """Forget all of them."""
        ...
