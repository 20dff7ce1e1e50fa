"""The API under test: the real application over a real store, called in process, or served on a port by a thread.

`ApiStage` plays on the caller's loop. `served` runs uvicorn on a loop and a thread of its own, for what only a socket shows.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import uvicorn
from fastapi import FastAPI

from orchestrator.contracts.access import Role, Token, digest_token
from orchestrator.contracts.webhooks import Endpoint
from orchestrator.interfaces.http.app import build_app
from orchestrator.interfaces.http.server import bind, make_server
from orchestrator.settings import Settings
from tests.stage import Stage, stage

T = TypeVar("T")

ROLES: tuple[Role, ...] = ("viewer", "submitter", "approver", "operator")
SECRETS: Mapping[Role, str] = {role: f"baton_{role}-{'x' * 30}" for role in ROLES}
TOKENS = tuple(
    Token(name=f"the-{role}", sha256=digest_token(SECRETS[role]), roles=(role,), source="file") for role in ROLES
)


def bearer(role: Role) -> dict[str, str]:
    """Return the header of a role's token."""
    return {"Authorization": f"Bearer {SECRETS[role]}"}


def api_settings(**api: object) -> Settings:
    """Return settings with these of the API; rates are out of the way unless they are given."""
    wide = {"requests_per_second": 1e5, "requests_burst": 1_000_000, "refusals_per_minute": 1e5, "stream_seconds": 0.02}
    return Settings.model_validate({"api": {**wide, **api}})


@dataclass
class ApiStage:
    """A stage, the application over it, and a caller."""

    on: Stage
    app: FastAPI
    http: httpx2.AsyncClient

    async def call(self, method: str, path: str, role: Role | None = "operator", **more: Any) -> httpx2.Response:
        """Make a request with the token of a role."""
        headers = {**(bearer(role) if role is not None else {}), **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)


@asynccontextmanager
async def api_stage(
    url: str,
    settings: Settings | None = None,
    *,
    open_actor: str | None = None,
    env: Mapping[str, str] | None = None,
    endpoints: Sequence[Endpoint] = (),
    specs: Mapping[str, Any] | None = None,
) -> AsyncIterator[ApiStage]:
    """Lend the application, called in process."""
    async with stage(url, settings or api_settings()) as on:
        on.client.specs = {**on.specs, **(specs or {})}
        on.client.four_eyes = on.settings.api.four_eyes
        app = build_app(
            on.client, on.settings, open_actor=open_actor, env=env or {}, endpoints=endpoints, tokens=TOKENS
        )
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield ApiStage(on, app, http)


class Served:
    """The application on a port, on a loop and thread of its own."""

    def __init__(
        self, url: str, settings: Settings, *, mount: Callable[[FastAPI], None] | None = None, **more: Any
    ) -> None:
        self._url, self._settings, self._more = url, settings, more
        self._mount = mount
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0
        self.stage: Stage | None = None
        self.app: FastAPI | None = None
        self._server: uvicorn.Server | None = None

    @property
    def base(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve; return once requests are answered."""
        self._thread.start()
        assert self._ready.wait(60)

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        """Do something on the application's loop."""
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(60)

    def stop(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.handle_exit(15, None)
        self._thread.join(60)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with stage(self._url, self._settings) as on:
            self.stage = on
            options = {"env": {}, "endpoints": (), "tokens": TOKENS, **self._more}
            self.app = build_app(on.client, self._settings, **options)
            if self._mount is not None:
                self._mount(self.app)
            listening = bind("127.0.0.1", 0)
            self.port = int(listening.getsockname()[1])
            self._server = _Quiet.of(self.app, self._settings, self._ready)
            await self._server.serve(sockets=[listening])
            listening.close()


class _Quiet:
    """Makes a server that tells when it answers and installs no signal handlers, for it runs on a thread."""

    @staticmethod
    def of(app: FastAPI, settings: Settings, ready: threading.Event) -> uvicorn.Server:
        server = make_server(app, settings.api)
        startup = server.startup

        async def started(sockets: Any = None) -> None:
            await startup(sockets=sockets)
            ready.set()

        server.startup = started  # type: ignore[method-assign]
        return server


@contextmanager
def served(url: str, settings: Settings | None = None, **more: Any) -> Iterator[Served]:
    """Lend the application on a port."""
    made = Served(url, settings or api_settings(), **more)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def play(store_url: str, act: Callable[[ApiStage], Awaitable[T]], **more: Any) -> T:
    """Do something with the API; return what it returns."""

    async def run() -> T:
        async with api_stage(store_url, **more) as api:
            return await act(api)

    return asyncio.run(run())
