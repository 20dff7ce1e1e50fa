"""What one API process works with, the route class that asks for a role before a body is read, and shared parameters."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute

from orchestrator.client import Client
from orchestrator.contracts.access import Caller, Role
from orchestrator.contracts.base import load_json
from orchestrator.contracts.ids import PREFIX_PATTERN
from orchestrator.operations import Operations
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.interfaces.http.auth import Doorkeeper
    from orchestrator.interfaces.http.hub import Hub
    from orchestrator.pool_load import PoolWatch
    from orchestrator.triggers import Triggers
    from orchestrator.webhooks import Webhooks

ROLE_KEY: Final = "x-baton-role"


@dataclass(slots=True)
class Parts:
    """One API process's wired parts; `beside` is entered when it begins to serve, and left when it ends."""

    client: Client
    operations: Operations
    settings: Settings
    doorkeeper: "Doorkeeper"
    hub: "Hub"
    triggers: "Triggers"
    webhooks: "Webhooks"
    pool_watch: "PoolWatch"
    beside: list[Callable[[], AbstractAsyncContextManager[object]]] = field(default_factory=list)


def parts_of(request: Request) -> Parts:
    """Return the parts that a request is served with."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)  # noqa: S101 - build_app put them there
    return parts


class StrictRequest(Request):
    """A request whose body is JSON as everybody else reads it: no NaN, no half of a surrogate pair."""

    async def json(self) -> Any:  # noqa: ANN401 - as its base has it
        """Return the body."""
        body = await self.body()
        try:
            return load_json(body)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route that admits a caller with its role before anything of the request is read."""

    def get_route_handler(self) -> Handler:
        """Return the handler."""
        inner = super().get_route_handler()
        role: Role | None = (self.openapi_extra or {}).get(ROLE_KEY)

        async def handle(request: Request) -> Response:
            if role is not None:
                request.state.caller = await parts_of(request).doorkeeper.admit(request, role)
            return await inner(StrictRequest(request.scope, request.receive))

        return handle


def needs(role: Role) -> dict[str, Any]:
    """Return what a route says of the role that it asks for."""
    return {ROLE_KEY: role}


# What a route depends on is awaited: the framework runs plain functions in threads, and three hops cost more than a request.
async def _parts(request: Request) -> Parts:
    return parts_of(request)


async def _caller(request: Request) -> Caller:
    caller = request.state.caller
    assert isinstance(caller, Caller)  # noqa: S101 - GuardedRoute put it there
    return caller


PartsOf: TypeAlias = Annotated[Parts, Depends(_parts)]
CallerOf: TypeAlias = Annotated[Caller, Depends(_caller)]
SessionId: TypeAlias = Annotated[
    str, Path(pattern=rf"^{PREFIX_PATTERN}-[0-9]{{8}}-[0-9]{{3,12}}$", examples=["SES-20261121-001"])
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor: TypeAlias = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,200}$", description="`next_cursor` of the page before.")
]
Key: TypeAlias = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key means the same request, for as long as it is known: what was lost on the way may be repeated.",
    ),
]
