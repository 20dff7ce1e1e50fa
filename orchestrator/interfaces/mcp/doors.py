"""Who may use which tool, and how a failure is told.

A tool that the caller may not use is not listed, and refused when it is called all the same. Every error reads
`where: what; what to do`: the error's own message for what the caller can mend, one neutral sentence for what is wrong on our
side. Who calls is found by whoever built the desk.
"""

import logging
from collections.abc import Sequence

from fastmcp.exceptions import FastMCPError, ToolError, ValidationError
from fastmcp.resources.base import ResourceResult
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import Tool, ToolResult
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, ListToolsRequest, ReadResourceRequestParams
from pydantic import ValidationError as Invalid

from mcp import MCPError
from orchestrator.contracts.errors import (
    AppCodeFailed,
    BatonError,
    InputError,
    SessionNotFound,
    StoreUnreachable,
    Unreadable,
    suggest,
)
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.telemetry import redact

log = logging.getLogger(__name__)


def explain(where: str, error: BaseException | None) -> str:
    """Return what a caller may learn of an error; what is wrong on our side goes to the log.

    >>> explain("approve", InputError("session S: it waits for nobody; look again"))
    'session S: it waits for nobody; look again'
    """
    match error:
        case Invalid():
            problems = error.errors(include_url=False, include_input=False, include_context=False)[:8]
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)
            return f"{where}: invalid arguments: {said}; mend them and call again"
        case InputError() | SessionNotFound() | Unreadable():
            return redact(str(error))
        case StoreUnreachable():
            log.warning("%s: %s", where, error)
            return f"{where}: the store cannot be reached; try again soon"
        case AppCodeFailed():
            log.warning("%s: %s", where, error)
            return f"{where}: the app's own code failed; its author has to mend it"
        case _:
            log.error("%s failed", where, exc_info=error)
            return f"{where}: it failed on our side; the log of the server says why"


class Doors(Middleware):
    """Lists and lets through what the caller's roles allow."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def allowed(self) -> frozenset[str]:
        """Return the tools that the caller may use."""
        roles = self._desk.find_caller().roles
        return frozenset(name for name, role in self._desk.roles.items() if role in roles)

    async def on_list_tools(
        self, context: MiddlewareContext[ListToolsRequest], call_next: CallNext[ListToolsRequest, Sequence[Tool]]
    ) -> Sequence[Tool]:
        """List what the caller may use."""
        allowed = self.allowed()
        return [tool for tool in await call_next(context) if tool.name in allowed]

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Call what the caller may use; raise ToolError with a message of ours."""
        name, allowed = context.message.name, self.allowed()
        if name not in allowed:
            role = self._desk.roles.get(name)
            if role is None:
                raise ToolError(f"tool {name[:200]!r}: there is none; {suggest(name, allowed)}")
            caller = self._desk.actor
            raise ToolError(f"tool {name}: {caller} lacks the role {role}; ask an operator for it")
        try:
            return await call_next(context)
        except ValidationError as error:
            raise ToolError(explain(f"tool {name}", error.__cause__)) from None
        except (FastMCPError, BatonError) as error:
            raise ToolError(explain(f"tool {name}", _cause(error))) from None

    async def on_read_resource(
        self,
        context: MiddlewareContext[ReadResourceRequestParams],
        call_next: CallNext[ReadResourceRequestParams, ResourceResult],
    ) -> ResourceResult:
        """Read; whoever may look may read. Raise MCPError with a message of ours."""
        try:
            return await call_next(context)
        except (FastMCPError, BatonError) as error:
            cause = _cause(error)
            code = INVALID_PARAMS if isinstance(cause, InputError | SessionNotFound) else INTERNAL_ERROR
            raise MCPError(code, explain(f"resource {str(context.message.uri)[:200]}", cause)) from None


def _cause(error: FastMCPError | BatonError) -> BaseException:
    """Return what was raised inside a tool: the library wraps it."""
    return error if isinstance(error, BatonError) or error.__cause__ is None else error.__cause__
