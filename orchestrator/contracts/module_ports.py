"""What a session in one process asks of its modules, as protocols: an orchestrator, providers, tools.

The other two kinds, contexts and hooks, are in `ports.py`, because the durable path asks the same of them.
Its own providers and toolboxes are there too, and are others: they make one call under a lease, and
keep no loop. A module need not derive from these; it has to have their parts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.chat import ChatRequest, ChatResponse, ToolCall
from orchestrator.contracts.modules import ModelInfo, ProviderInfo
from orchestrator.contracts.ports import ContextManager
from orchestrator.contracts.tool_result import ToolResult


class Tool(Protocol):
    """Something that a model may call by its name."""

    @property
    def name(self) -> str:
        """Under which it is mounted and called."""
        ...

    @property
    def description(self) -> str:
        """What a model reads of it."""
        ...

    @property
    def input_schema(self) -> JsonObject:
        """The JSON Schema of its input; empty where a tool does not say."""
        return {}

    async def execute(self, arguments: JsonObject, /) -> ToolResult:
        """Act. A failure that a model may be told of is a result, not an error."""
        ...


class Provider(Protocol):
    """One model service."""

    @property
    def name(self) -> str:
        """Under which it is mounted."""
        ...

    def get_info(self) -> ProviderInfo:
        """Return what it is, and what it needs to be configured."""
        ...

    async def list_models(self) -> Sequence[ModelInfo]:
        """Return the models that it offers now."""
        ...

    async def complete(self, request: ChatRequest, **options: Any) -> ChatResponse:
        """Make one call; raise an error of `contracts/provider_errors.py`."""
        ...

    def parse_tool_calls(self, response: ChatResponse) -> Sequence[ToolCall]:
        """Return the calls that a response asks for, in order."""
        ...


class Orchestrator(Protocol):
    """The loop of a turn: asks providers, calls tools, tells hooks."""

    async def execute(
        self,
        *,
        prompt: str,
        context: ContextManager,
        providers: Mapping[str, Provider],
        tools: Mapping[str, Tool],
        hooks: Any,
        coordinator: Any,
    ) -> str:
        """Work on a prompt; return the text that answers it. `hooks` is the session's HookRegistry."""
        ...
