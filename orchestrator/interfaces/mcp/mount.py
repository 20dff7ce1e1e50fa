"""/mcp of the HTTP API: streamable HTTP, admitted by the API's own doorkeeper.

The same tokens, roles and rates as every route; the token's name is the actor. No connection is remembered between requests, so
any of several API processes answers any of them.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastmcp.server.dependencies import get_http_request
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.contracts.access import Caller
from orchestrator.interfaces.http.parts import Parts
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.server import build_server

PATH: Final = "/mcp"


def mount_mcp(app: FastAPI) -> None:
    """Serve MCP at /mcp of an API that `build_app` made, for as long as it serves."""
    parts: Parts = app.state.parts
    server = build_server(Desk(parts.operations, find_caller))
    inner = server.http_app(path=PATH, stateless_http=True, json_response=True, host_origin_protection=False)
    parts.beside.append(lambda: inner.lifespan(inner))
    app.router.routes.append(Route(PATH, Gate(parts, inner), methods=["POST"]))


def find_caller() -> Caller:
    """Return who makes the request that is being served."""
    caller = get_http_request().state.caller
    assert isinstance(caller, Caller)  # noqa: S101 - the gate put it there
    return caller


class Gate:
    """Admits a caller, and reads the body within the API's limits, before the MCP server sees anything of a request."""

    def __init__(self, parts: Parts, inner: ASGIApp) -> None:
        self._parts = parts
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is refused is answered as everywhere in the API."""
        request = Request(scope, receive)
        caller = await self._parts.doorkeeper.admit(request, "viewer")
        body = await request.body()
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        state: dict[str, Any] = {**scope.get("state", {}), "caller": caller}
        await self._inner({**scope, "state": state}, replay, send)
