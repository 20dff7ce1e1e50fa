"""Put the console into the API's application: its routes, its files, and the task that looks at the store for it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from orchestrator.interfaces.console import apps, dead, fleet, forking, inbox, login, overview, sessions, submitting
from orchestrator.interfaces.console.access import HOME
from orchestrator.interfaces.console.pages import PageRoute, show_error
from orchestrator.interfaces.console.pulse import Pulse
from orchestrator.interfaces.console.shown import load_static
from orchestrator.interfaces.http import problems

ROUTERS = (
    login.router,
    overview.router,
    submitting.router,
    forking.router,
    sessions.router,
    inbox.router,
    dead.router,
    fleet.router,
    apps.router,
)

files = APIRouter(prefix="/console")
_FILES = load_static()


@files.get("/static/{name}", include_in_schema=False)
async def get_file(name: str) -> Response:
    """Return one of our files; their addresses change with what is in them."""
    if name not in _FILES:
        raise HTTPException(404)
    body, media_type = _FILES[name]
    return Response(body, media_type=media_type, headers={"Cache-Control": "public, max-age=31536000, immutable"})


last = APIRouter(prefix="/console", route_class=PageRoute)


@last.get("/{path:path}", include_in_schema=False)
async def find_nothing(path: str) -> Response:
    """Answer for addresses where no page is."""
    raise HTTPException(404, path)


def mount_console(app: FastAPI) -> None:
    """Add the console to an application that has its parts."""
    app.state.pulse = Pulse(app.state.parts)

    async def show_home(request: Request) -> Response:
        del request
        return RedirectResponse(HOME, 307)

    app.add_api_route("/", show_home, methods=["GET"], include_in_schema=False)
    app.add_api_route("/console", show_home, methods=["GET"], include_in_schema=False)
    for router in (files, *ROUTERS, last):
        app.include_router(router)
    app.add_exception_handler(Exception, _on_unexpected)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def live(one: FastAPI) -> AsyncIterator[Any]:
        async with inner(one) as state:
            app.state.pulse.start()
            try:
                yield state
            finally:
                await app.state.pulse.aclose()

    app.router.lifespan_context = live


async def _on_unexpected(request: Request, error: Exception) -> Response:
    """Answer what nobody expected: with a page where a page was asked for."""
    if request.url.path.startswith(HOME):
        return await show_error(request, error)
    return await problems.on_unexpected(request, error)
