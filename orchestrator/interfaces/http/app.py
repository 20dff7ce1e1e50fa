"""The ASGI application: routes, errors, limits, and what runs beside them.

`build_app(client, settings)` is the seam: who mounts pages or an MCP server adds routers to what it returns, finds what
it needs in `app.state.parts`, lets its own requests in by `parts.doorkeeper`, and gives `parts.beside` what must run as long as
the application serves. Raises ConfigError for settings that do not hold together.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from orchestrator import __version__
from orchestrator.client import Client
from orchestrator.contracts.access import Token
from orchestrator.contracts.errors import BatonError
from orchestrator.contracts.webhooks import Endpoint
from orchestrator.interfaces.console.mount import mount_console
from orchestrator.interfaces.http import answers, health, incoming, operate, problems, sessions, shapes, streams
from orchestrator.interfaces.http.auth import Doorkeeper
from orchestrator.interfaces.http.hub import Hub
from orchestrator.interfaces.http.jwt import JwtVerifier
from orchestrator.interfaces.http.limits import BodyLimits, SafeHeaders
from orchestrator.interfaces.http.openapi import describe
from orchestrator.interfaces.http.parts import Parts
from orchestrator.operations import Operations
from orchestrator.pool_load import PoolWatch
from orchestrator.settings import Settings, find_config_dir
from orchestrator.token_file import load_tokens
from orchestrator.triggers import Triggers
from orchestrator.webhooks import Webhooks, load_endpoints

log = logging.getLogger(__name__)

ROUTERS = (health.router, sessions.router, streams.router, answers.router, operate.router, incoming.router)


def build_app(
    client: Client,
    settings: Settings,
    *,
    open_actor: str | None = None,
    env: Mapping[str, str] | None = None,
    endpoints: Sequence[Endpoint] | None = None,
    tokens: Sequence[Token] | None = None,
) -> FastAPI:
    """Return the API of a client's store, for one event loop; it closes what it opened, and not the client.

    With `open_actor`, requests without credentials are that actor's, from this machine alone. Endpoints and the
    tokens of a file are those of the settings, unless given.
    """
    variables = os.environ if env is None else env
    api, queues = settings.api, settings.queues
    operations = Operations(
        client, queue_names={"steps": queues.steps, "plugins": queues.plugins, "finalize": queues.finalize}
    )
    found = (load_tokens(Path(api.tokens_file).expanduser()) if api.tokens_file else ()) if tokens is None else tokens
    parts = Parts(
        client=client,
        operations=operations,
        settings=settings,
        doorkeeper=Doorkeeper(
            operations,
            api,
            file_tokens={token.sha256: token for token in found},
            jwt=JwtVerifier(api) if api.oidc_issuer else None,
            open_actor=open_actor,
        ),
        hub=Hub(operations, seconds=api.stream_seconds, most=api.streams),
        triggers=Triggers(client, variables),
        webhooks=Webhooks(
            client,
            _find_endpoints(settings, variables) if endpoints is None else endpoints,
            settings.webhooks,
            shapes.waiting_shape,
        ),
        pool_watch=PoolWatch(client, settings),
    )
    app = FastAPI(
        title="Baton",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_live,
        redirect_slashes=False,
    )
    app.state.parts = parts
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(BatonError, problems.on_baton_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(Exception, problems.on_unexpected)
    mount_console(app)
    app.add_middleware(BodyLimits, most_bytes=api.body_bytes, seconds=api.body_seconds)
    app.add_middleware(SafeHeaders)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way to give another
    return app


@contextlib.asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    """Deliver webhooks, and run what stands beside, for as long as the application serves."""
    parts: Parts = app.state.parts
    delivering = asyncio.create_task(parts.webhooks.run(), name="baton-webhooks")
    delivering.add_done_callback(_tell_end)
    try:
        async with contextlib.AsyncExitStack() as running:
            for enter in parts.beside:
                await running.enter_async_context(enter())
            yield
    finally:
        await parts.hub.aclose()
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        await parts.webhooks.aclose()


def _tell_end(delivering: "asyncio.Task[None]") -> None:
    """Say at once that nothing is delivered any more, where a defect has ended it: nobody waits for that task."""
    error = None if delivering.cancelled() else delivering.exception()
    if error is not None:
        log.error("webhooks: delivering ended by a defect; start this process again", exc_info=error)


def _find_endpoints(settings: Settings, env: Mapping[str, str]) -> tuple[Endpoint, ...]:
    if settings.webhooks.file:
        return load_endpoints(Path(settings.webhooks.file).expanduser(), env=env)
    beside = find_config_dir(env) / "webhooks.yaml"
    return load_endpoints(beside, env=env) if beside.is_file() else ()
