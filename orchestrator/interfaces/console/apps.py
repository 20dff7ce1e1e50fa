"""Pages of apps: what they are for, how their sessions stand, and their rules as a drawing."""

import asyncio

from fastapi import APIRouter, Request, Response

from orchestrator.interfaces.console.graph import draw_app
from orchestrator.interfaces.console.pages import PageRoute, PartsOf, render
from orchestrator.interfaces.http.operate import AppName
from orchestrator.interfaces.http.parts import needs
from orchestrator.interfaces.http.problems import Refused

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)


@router.get("/apps", openapi_extra=needs("viewer"))
async def list_apps(request: Request, parts: PartsOf) -> Response:
    """List the apps that are loaded here."""
    counts, pauses = await asyncio.gather(parts.client.counts(), parts.operations.pauses())
    return render(
        request,
        "apps.html",
        specs=parts.client.specs,
        counts=counts,
        pauses={one.target: one for one in pauses},
        unknown=sorted(set(counts) - set(parts.client.specs)),
    )


@router.get("/apps/{name}", openapi_extra=needs("viewer"))
async def show_app(request: Request, name: AppName, parts: PartsOf) -> Response:
    """Show one app: its rules, its words, its limits."""
    spec = parts.client.specs.get(name)
    if spec is None:
        raise Refused("not-found", 404, f"app {name}: not loaded here; see the list of apps")
    counts, pauses, members = await asyncio.gather(
        parts.client.counts(), parts.operations.pauses(), parts.client.workers()
    )
    having: dict[str, int] = {}
    for one in members:
        if name in one.digests:
            having[one.digests[name]] = having.get(one.digests[name], 0) + 1
    return render(
        request,
        "app.html",
        spec=spec,
        digest=spec.digest(),
        drawing=draw_app(spec),
        phases=counts.get(name, {}),
        pause={one.target: one for one in pauses}.get(f"app:{name}"),
        having=having,
    )
