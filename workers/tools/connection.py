"""One open connection to a remote MCP server: how it is made, used and judged when it breaks.

What fails while connecting was never sent. What fails during a call was not sent only if nothing else used the
connection meanwhile and the error says so; in every doubt it counts as sent. Opening again is the work of remote.py.
"""

import asyncio
import logging
from typing import Any, TypeVar

import anyio
import httpx2
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import ClientTransport, SSETransport, StdioTransport, StreamableHttpTransport
from fastmcp.mcp_config import infer_transport_type_from_url
from mcp import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    URL_ELICITATION_REQUIRED,
    CallToolResult,
    InputRequiredResult,
)
from mcp_types import ElicitResult as McpElicitResult

from orchestrator.contracts.app import McpServer
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ToolError, ToolNeedsInput, ToolTimeout, ToolUnavailable
from orchestrator.contracts.tool_questions import ToolAnswers
from orchestrator.telemetry import redact
from workers.tools.stderr import ServerStderr

log = logging.getLogger("baton.tools")
Result = TypeVar("Result")

#: Whatever the client, its transport and the SDK below raise when a peer is gone or talks nonsense.
BROKEN = (
    MCPError,
    RuntimeError,
    OSError,
    ValueError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    ExceptionGroup,
)

#: These say that the request never left.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)

#: Answers of a server, or of a gateway before it, that did not let a request in. A 408, say, may be about one that was passed on.
_NOT_LET_IN = frozenset({401, 403, 404, 405, 429})

#: Above every tool's limit: a call's time is kept by its caller, not by the client.
_NEVER_SECONDS = 86_400.0
_CLOSE_SECONDS = 5.0


class InputAsked(Exception):
    """The server asks for input instead of answering."""

    def __init__(self, asked: InputRequiredResult) -> None:
        self.asked = asked
        super().__init__("input required")


class _Client(Client[Any]):
    """A client that hands a request for input to us instead of answering it by itself."""

    async def _drive_input_required(self, first: Result | InputRequiredResult, _retry: object) -> Result:
        if isinstance(first, InputRequiredResult):
            raise InputAsked(first)
        return first

    async def call_again(self, tool: str, args: JsonObject, answers: ToolAnswers) -> CallToolResult:
        """Make a call whose tool has asked once more, with the answers; raise InputAsked where it asks again."""
        responses = {key: McpElicitResult.model_validate(one) for key, one in answers.responses.items()}
        made = await self._await_with_session_monitoring(
            self.session.call_tool(
                tool,
                args,
                input_responses={**responses} or None,
                request_state=answers.request_state,
                allow_input_required=True,
            )
        )
        if isinstance(made, InputRequiredResult):
            raise InputAsked(made)
        return made


async def decline(*_: object) -> ElicitResult[Any]:
    """Decline what an old server asks in the middle of a call: nobody is there to answer."""
    log.info("a tool server asked for input in the middle of a call; declined")
    return ElicitResult(action="decline")


class HttpErrors:
    """Counts the HTTP error answers of a connection: the SDK drops their status on the way to the caller."""

    def __init__(self) -> None:
        self.count = self.last = 0

    async def note(self, response: httpx2.Response) -> None:
        """Look at one response; a hook of the HTTP client."""
        if response.status_code >= 400:
            self.count, self.last = self.count + 1, response.status_code

    def make_client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        **_: object,
    ) -> httpx2.AsyncClient:
        """Return an HTTP client; redirects are left to the SDK, which keeps them within the server's origin."""
        hooks = {"response": [self.note]}
        return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, event_hooks=hooks)


def make_transport(server: McpServer, root: str, stderr: ServerStderr | None, errors: HttpErrors) -> ClientTransport:
    """Return the transport that a declaration asks for."""
    if server.url is None:
        return StdioTransport(
            server.command[0],
            list(server.command[1:]),
            env=dict(server.env) or None,
            cwd=root or None,
            keep_alive=False,
            log_file=stderr.file if stderr is not None else None,
        )
    kind = SSETransport if infer_transport_type_from_url(server.url) == "sse" else StreamableHttpTransport
    return kind(server.url, headers=dict(server.headers), httpx_client_factory=errors.make_client)


class Connection:
    """An open client. Made by `open_connection`."""

    def __init__(self, name: str, client: _Client, stderr: ServerStderr | None, errors: HttpErrors) -> None:
        self.name, self.client, self._stderr, self._errors = name, client, stderr, errors
        self._started = self._in_flight = 0
        self._is_lost = False

    @property
    def is_usable(self) -> bool:
        """False once the peer is known to be gone, or to have forgotten us."""
        return (
            not self._is_lost
            and self.client.is_connected()
            and not (self._stderr is not None and self._stderr.has_ended)
        )

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> CallToolResult:
        """Make one call; raise ToolTimeout, ToolNeedsInput, ToolUnavailable or ToolError."""
        where = f"{self.name}:{tool}"
        shared = self._in_flight > 0
        self._started += 1
        self._in_flight += 1
        serial, errors_before = self._started, self._errors.count
        try:
            async with asyncio.timeout(timeout_seconds) as clock:
                if answers is not None:
                    return await self.client.call_again(tool, args, answers)
                return await self.client.call_tool_mcp(tool, args)
        except InputAsked as error:
            requests = {k: v.model_dump(mode="json") for k, v in (error.asked.input_requests or {}).items()}
            raise ToolNeedsInput(
                f"{where}: it asks for input before it acts", requests=requests, request_state=error.asked.request_state
            ) from None
        except BROKEN as error:
            if isinstance(error, TimeoutError) and clock.expired():
                message = f"{where}: no result in {timeout_seconds:g} s; whether it acted is unknown"
                raise ToolTimeout(message) from None
            status = self._errors.last if self._errors.count > errors_before else None
            raise self._judge(where, error, status, alone=not shared and serial == self._started) from None
        finally:
            self._in_flight -= 1

    def _judge(self, where: str, error: BaseException, status: int | None, *, alone: bool) -> ToolError:
        """Return our error for what a call raised; `status` is an HTTP error seen meanwhile, perhaps another call's."""
        if isinstance(error, MCPError):
            code, text = error.error.code, error.error.message
            if code == URL_ELICITATION_REQUIRED:
                return ToolNeedsInput(f"{where}: {text}", requests={"url": error.error.data})
            if code == REQUEST_TIMEOUT:
                return ToolTimeout(f"{where}: {text}")
            if code == INVALID_REQUEST and status == 404:  # it does not know our session any more, and so did not act
                self._is_lost = True
                return unavailable(self.name, error, status)
            if code != CONNECTION_CLOSED and (status is None or code not in {INTERNAL_ERROR, METHOD_NOT_FOUND}):
                return ToolError(f"{where}: {text}")
        elif isinstance(error, RuntimeError | ValueError) and self.is_usable:
            log.warning("tool %s answered against its own schema: %s", where, redact(str(error))[:300])
            return ToolError(f"{where}: its result does not fit its own output schema; the server must be mended")
        refused = status in _NOT_LET_IN
        self._is_lost = self._is_lost or status is None
        return unavailable(self.name, error, status, is_sent=not (alone and (refused or isinstance(error, _UNSENT))))

    async def aclose(self) -> None:
        """Close the client; a dead peer is no error here."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.client.close()  # type: ignore[no-untyped-call]
        except BROKEN as error:
            log.debug("tool server %s: closing: %r", self.name, error)
        finally:
            if self._stderr is not None:
                self._stderr.close()


def unavailable(
    name: str, error: BaseException, status: int | None = None, *, is_sent: bool = False
) -> ToolUnavailable:
    """Return the error for a server out of reach. It names the kind of failure: a text may carry a URL's password."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    kind = type(cause).__name__
    if status is not None:
        kind = f"HTTP {status}"
    elif isinstance(cause, MCPError):
        kind = "connection closed" if cause.error.code == CONNECTION_CLOSED else f"MCP error {cause.error.code}"
    log.warning("tool server %s is unavailable: %s: %s", name, kind, redact(str(cause))[:300])
    doubt = "; whether the tool acted is unknown" if is_sent else ""
    return ToolUnavailable(f"tool server {name!r}: cannot be reached ({kind}){doubt}; try again later", is_sent=is_sent)


async def open_connection(server: McpServer, root: str, connect_seconds: float) -> Connection | ToolUnavailable:
    """Connect, or return why not: several callers may wait for the same attempt."""
    stderr = ServerStderr(server.name) if server.url is None else None
    errors, is_open = HttpErrors(), False
    try:
        client = _Client(
            make_transport(server, root, stderr, errors),
            name=server.name,
            timeout=_NEVER_SECONDS,
            init_timeout=connect_seconds,
            elicitation_handler=decline,
        )
        async with asyncio.timeout(connect_seconds):
            await client.__aenter__()  # type: ignore[no-untyped-call]
        is_open = True
    except BROKEN as error:
        if stderr is not None and stderr.last_words():
            log.warning("tool server %s said: %s", server.name, stderr.last_words())
        return unavailable(server.name, error, errors.last or None)
    finally:
        if stderr is not None:
            stderr.hand_over() if is_open else stderr.close()
    return Connection(server.name, client, stderr, errors)
