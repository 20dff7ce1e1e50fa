"""An app's own MCP server, run in this process.

The app's module registers its tools on a FastMCP server; calls go to the server directly, which keeps its
argument validation, its passing of ToolError texts and its masking of every other exception at a small part of
the cost of an in-memory client. Blocking tools run in threads. A tool's time limit is kept here; what a failed
call means for the session is decided elsewhere.
"""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import DisabledError, FastMCPError, NotFoundError
from fastmcp.exceptions import ValidationError as ArgumentsRefused
from fastmcp.server.context import _current_context
from fastmcp.tools.base import InputRequiredToolResult, Tool, ToolResult
from fastmcp.tools.function_tool import FunctionTool
from fastmcp.utilities.async_utils import is_coroutine_function
from fastmcp.utilities.versions import VersionSpec
from mcp import MCPError
from mcp_types import ElicitResult
from pydantic import JsonValue, ValidationError

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ToolError, ToolNeedsInput, ToolTimeout, suggest
from orchestrator.contracts.messages import ToolSchema
from orchestrator.contracts.tool_questions import ToolAnswers
from orchestrator.kernel.live.guard import is_being_cancelled
from orchestrator.telemetry import redact
from workers.tools.results import bound, choose_value, describe_arguments, is_wrapped, text_of
from workers.tools.threads import ThreadBudget

log = logging.getLogger("baton.tools")

#: What goes back to the tool of the call that is being made.
_answers: ContextVar[ToolAnswers | None] = ContextVar("baton_tool_answers", default=None)

#: What `server.call_tool` raises itself; all else that a tool raises it has masked as its ToolError.
_REFUSALS = (FastMCPError, NotFoundError, DisabledError, MCPError, ValidationError)


class AppServer(FastMCP[Any]):
    """A FastMCP server that finds a tool once: the search costs more than the call."""

    def __init__(self, name: str, threads: ThreadBudget) -> None:
        self.found: dict[str, Tool] = {}
        self.blocking: set[str] = set()
        self._threads = threads
        super().__init__(name, mask_error_details=True, on_duplicate="error")

    async def get_tool(self, name: str, version: VersionSpec | None = None) -> Tool | None:
        """Return the tool of that name, blocking ones prepared to run in a counted thread."""
        _hand_over_answers()
        if version is None and name in self.found:
            return self.found[name]
        tool = await super().get_tool(name, version)
        if tool is None or version is not None:
            return tool
        if isinstance(tool, FunctionTool) and is_blocking(tool.fn):
            # A tool that asked to run on the loop would stop every session of this process while it works.
            tool = tool.model_copy(update={"fn": self._threads.counted(tool.fn), "run_in_thread": True})
            self.blocking.add(name)
        self.found[name] = tool
        return tool


def _hand_over_answers() -> None:
    """Give the call that is being made the answers to what its tool asked.

    A tool is looked up inside of its call's own Context. Without a request on a wire the library reads what a person has
    answered from these two fields, as it does for calls in the background.
    """
    answers = _answers.get()
    if answers is not None and (context := _current_context.get()) is not None:
        context._task_input_responses = {  # noqa: SLF001 - there is no public way for a call without a request
            key: ElicitResult.model_validate(one) for key, one in answers.responses.items()
        }
        context._task_request_state = answers.request_state  # noqa: SLF001 - as above


def is_blocking(body: Callable[..., Any]) -> bool:
    """Say whether calling `body` does its work at once, rather than in an await."""
    return not is_coroutine_function(body) and not inspect.isasyncgenfunction(body)


class InProcessServer:
    """One declared server of an app, in this process. Safe to build before a fork."""

    def __init__(
        self,
        name: str,
        register: Callable[[FastMCP[Any], JsonObject], object],
        config: JsonObject,
        *,
        result_bytes: int,
        threads: ThreadBudget,
    ) -> None:
        self.name = name
        self._result_bytes, self._threads = result_bytes, threads
        self._app = AppServer(name, threads)
        plain = len(self._app.middleware)
        register(self._app, config)
        self._has_middleware = len(self._app.middleware) > plain
        self._schemas: dict[str, ToolSchema] = {}

    @property
    def listed(self) -> Mapping[str, ToolSchema]:
        """The tools as last listed, by bare name."""
        return self._schemas

    async def tools(self, *, refresh: bool = False) -> Mapping[str, ToolSchema]:
        """Return the tools by bare name."""
        if refresh or not self._schemas:
            self._app.found.clear()
            self._schemas = {
                tool.name: ToolSchema(
                    name=f"{self.name}:{tool.name}", description=tool.description or "", parameters=tool.parameters
                )
                for tool in await self._app.list_tools()
            }
        return self._schemas

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Call one tool; raise ToolError, ToolTimeout or ToolNeedsInput. With `answers`, it finds them in its Context."""
        where = f"{self.name}:{tool}"
        if await self._app.get_tool(tool) is None:
            raise ToolError(f"{where}: no such tool; {suggest(tool, await self.tools())}")
        if tool in self._app.blocking:
            self._threads.check(where)
        given = _answers.set(answers)
        try:
            async with asyncio.timeout(timeout_seconds) as clock:
                result = await self._run(tool, args, where)
        except TimeoutError:
            if not clock.expired():
                raise
            raise ToolTimeout(f"{where}: no result in {timeout_seconds:g} s; whether it acted is unknown") from None
        finally:
            _answers.reset(given)
        if isinstance(result, InputRequiredToolResult):
            asked = result.input_required
            raise ToolNeedsInput(
                f"{where}: it asks for input before it acts",
                requests={key: item.model_dump(mode="json") for key, item in (asked.input_requests or {}).items()},
                request_state=asked.request_state,
            )
        if result.is_error:
            raise ToolError(f"{where}: {text_of(result.content) or 'it reported an error without a text'}")
        wrapped = is_wrapped(result.meta, None)
        value = choose_value(result.structured_content, result.content, wrapped=wrapped)
        return bound(value, limit_bytes=self._result_bytes, where=where)

    async def _run(self, tool: str, args: JsonObject, where: str) -> ToolResult:
        """Make the call and turn refusals into ours; the text of a ToolError is the tool's own, others are masked."""
        try:
            if not self._has_middleware:
                return await self._guarded(tool, args, where)
            # An app's own middleware runs outside of fastmcp's masking: take what it raises as a value.
            [outcome] = await asyncio.gather(self._guarded(tool, args, where), return_exceptions=True)
            if not isinstance(outcome, BaseException):
                return outcome
            if isinstance(outcome, (*_REFUSALS, ToolError)) or not isinstance(outcome, Exception):
                raise outcome
            _log_cause(where, outcome)
            raise ToolError(f"{where}: Error calling tool {tool!r}") from None
        except _REFUSALS as error:
            cause = error.__cause__
            if isinstance(cause, ToolError):  # an app may raise the contracts' own errors
                raise cause from None
            arguments = error if isinstance(error, ValidationError) else cause
            if isinstance(error, ArgumentsRefused | ValidationError) and isinstance(arguments, ValidationError):
                said = f"invalid arguments: {describe_arguments(arguments)}"
                raise ToolError(f"{where}: {said}; mend them and call again") from None
            if cause is not None:
                _log_cause(where, cause)
            raise ToolError(f"{where}: {error}") from None

    async def _guarded(self, tool: str, args: JsonObject, where: str) -> ToolResult:
        try:
            return await self._app.call_tool(tool, args, run_middleware=self._has_middleware)
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            log.warning(
                "tool %s gave up: it awaits what was cancelled", where
            )  # nobody asked it to: an error as any other
            raise ToolError(f"{where}: Error calling tool {tool!r}") from None
        except SystemExit:  # it would end the loop, and with it every session of this process
            raise ToolError(f"{where}: it tried to end the process; the tool must be mended") from None

    async def aclose(self) -> None:
        """Nothing is held open."""


def _log_cause(where: str, cause: BaseException) -> None:
    """Tell the operator, not the model, what a tool raised and where: no source lines, they may hold secrets."""
    frames = traceback.extract_tb(cause.__traceback__)[-3:]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    log.warning("tool %s raised %s: %s (%s)", where, type(cause).__name__, redact(str(cause))[:300], places)
