"""A remote MCP server of an app, by URL or by command: one client, opened at first need and kept open.

A connection that broke is opened again by the next call. A call that surely never left is made once more; one that
may have left is not, the caller decides. The connection belongs to the loop and the process that opened it.
"""

import asyncio
import os
from collections.abc import Mapping

from pydantic import JsonValue

from orchestrator.contracts.app import McpServer
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, ToolError, ToolUnavailable, suggest
from orchestrator.contracts.messages import ToolSchema
from orchestrator.contracts.tool_questions import ToolAnswers
from workers.tools.connection import BROKEN, Connection, open_connection, unavailable
from workers.tools.results import bound, choose_value, is_wrapped, text_of

#: More pages of tools than any server has that a model could be shown.
_MAX_PAGES = 20


class RemoteServer:
    """One declared server behind a URL or a command."""

    def __init__(self, server: McpServer, *, root: str, result_bytes: int, connect_seconds: float) -> None:
        if server.url is not None and not server.url.startswith(("http://", "https://")):
            raise ConfigError(f"MCP server {server.name!r}: its url is not http or https; mend app.yaml")
        self.name = server.name
        self._server, self._root = server, root
        self._result_bytes, self._connect_seconds = result_bytes, connect_seconds
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection | ToolUnavailable] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._schemas: dict[str, ToolSchema] = {}
        self._wrapped: frozenset[str] = frozenset()

    @property
    def listed(self) -> Mapping[str, ToolSchema]:
        """The tools as last listed, by bare name."""
        return self._schemas

    async def tools(self, *, refresh: bool = False) -> Mapping[str, ToolSchema]:
        """Return the tools by bare name; raise ToolUnavailable."""
        if self._schemas and not refresh:
            return self._schemas
        connection = await self._connect()
        try:
            async with asyncio.timeout(self._connect_seconds):
                listed = await connection.client.list_tools(max_pages=_MAX_PAGES)
        except BROKEN as error:
            self._retire(connection)
            raise unavailable(self.name, error) from None
        self._wrapped = frozenset(tool.name for tool in listed if is_wrapped(None, tool.output_schema))
        self._schemas = {
            tool.name: ToolSchema(
                name=f"{self.name}:{tool.name}", description=tool.description or "", parameters=tool.input_schema
            )
            for tool in listed
        }
        return self._schemas

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Call one tool; raise ToolError, ToolTimeout, ToolNeedsInput or ToolUnavailable."""
        where = f"{self.name}:{tool}"
        known = await self.tools()
        if tool not in known:
            raise ToolError(f"{where}: no such tool; {suggest(tool, known)}")
        connection = await self._connect()
        try:
            result = await connection.call(tool, args, timeout_seconds=timeout_seconds, answers=answers)
        except ToolUnavailable as error:
            if connection.is_usable:  # an answer of a gateway, say: others' calls go on over it
                raise
            self._retire(connection)
            if error.is_sent:
                raise
            # The connection was stale and nothing had left: this is still the first time that the tool is asked.
            connection = await self._connect()
            result = await connection.call(tool, args, timeout_seconds=timeout_seconds, answers=answers)
        if result.is_error:
            raise ToolError(f"{where}: {text_of(result.content) or 'it reported an error without a text'}")
        wrapped = tool in self._wrapped or is_wrapped(result.meta, None)
        value = choose_value(result.structured_content, result.content, wrapped=wrapped)
        return bound(value, limit_bytes=self._result_bytes, where=where)

    async def aclose(self) -> None:
        """Close the connection and wait for those that are closing."""
        if self._home != (os.getpid(), asyncio.get_running_loop()):
            return
        if self._opening is not None:
            opened = await self._opening
            if isinstance(opened, Connection):
                self._retire(opened)
        elif self._connection is not None:
            self._retire(self._connection)
        while self._closing:
            await asyncio.gather(*self._closing)

    async def _connect(self) -> Connection:
        """Return the open connection; open one where there is none. Callers share one attempt."""
        home = (os.getpid(), asyncio.get_running_loop())
        if self._home != home:  # after a fork, or on another loop: what is there is not ours to use or close
            self._home, self._connection, self._opening, self._closing = home, None, None, set()
        if self._connection is not None:
            if self._connection.is_usable:
                return self._connection
            self._retire(self._connection)
        if self._opening is None:
            self._opening = asyncio.create_task(open_connection(self._server, self._root, self._connect_seconds))
            self._opening.add_done_callback(self._opened)
        # Shielded: a caller whose time runs out leaves the attempt to those who still wait for it.
        opened = await asyncio.shield(self._opening)
        if isinstance(opened, ToolUnavailable):
            raise ToolUnavailable(str(opened))
        return opened

    def _opened(self, task: asyncio.Task[Connection | ToolUnavailable]) -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None and isinstance(opened := task.result(), Connection):
            self._connection = opened

    def _retire(self, connection: Connection) -> None:
        """Take a connection out of use and close it in the background."""
        if self._connection is connection:
            self._connection = None
            task = asyncio.create_task(connection.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
