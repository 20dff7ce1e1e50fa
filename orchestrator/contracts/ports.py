"""What the runtime asks of the world, as protocols: model providers, tools, wake-ups."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import ModelRequest, ModelResponse, ToolSchema


class Provider(Protocol):
    """One model service. Retries, back-off and deadlines are the runtime's, never a provider's."""

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Make one call. Raise an LLMError (contracts/provider_errors.py); honour cancellation."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class Toolbox(Protocol):
    """The MCP servers of one app."""

    async def catalogue(self) -> Mapping[str, ToolSchema]:
        """Return every tool by full name `server:tool`; raise ToolUnavailable."""
        ...

    async def call(self, tool: str, args: JsonObject, *, timeout_seconds: float) -> JsonValue:
        """Call a tool by its full name; raise ToolError, ToolTimeout, ToolNeedsInput or ToolUnavailable."""
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
