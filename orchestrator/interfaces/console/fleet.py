"""Pages of what does the work: queues with their limits and pauses, workers and their drain, the operators' log."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from orchestrator.interfaces.console.pages import CallerOf, FormOf, PageRoute, PartsOf, go, render
from orchestrator.interfaces.http.parts import needs

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

PAGE: Final = 100


@router.get("/queues", openapi_extra=needs("viewer"))
async def list_queues(request: Request, parts: PartsOf) -> Response:
    """Show the lines, what may run at once, and what is paused."""
    operations, client = parts.operations, parts.client
    lines, pauses, counts, now = await asyncio.gather(
        operations.lines(), operations.pauses(), client.counts(), operations.now_ms()
    )
    return render(
        request,
        "queues.html",
        lines=lines,
        pauses={one.target: one for one in pauses},
        apps=sorted({*client.specs, *counts}),
        specs=client.specs,
        counts=counts,
        settings=parts.settings,
        now=now,
    )


@router.post("/pause", openapi_extra=needs("operator"))
async def pause(parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Pause a queue or an app."""
    changed = await parts.operations.pause(
        form.one("target", most=100), actor=caller.name, reason=form.one("reason", most=500)
    )
    return go(form.one("back") or "/console/queues", "paused" if changed else "unchanged")


@router.post("/unpause", openapi_extra=needs("operator"))
async def unpause(parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Let it go on."""
    changed = await parts.operations.unpause(form.one("target", most=100), actor=caller.name)
    return go(form.one("back") or "/console/queues", "unpaused" if changed else "unchanged")


@router.get("/workers", openapi_extra=needs("viewer"))
async def list_workers(request: Request, parts: PartsOf) -> Response:
    """Show who is at work."""
    members, now = await asyncio.gather(parts.client.workers(), parts.operations.now_ms())
    return render(
        request,
        "workers.html",
        members=members,
        now=now,
        digests={name: spec.digest() for name, spec in parts.client.specs.items()},
    )


@router.post("/workers/drain", openapi_extra=needs("operator"))
async def drain(parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Let a worker finish what runs and take nothing new."""
    await parts.operations.drain_worker(form.one("worker", most=300), actor=caller.name)
    return go("/console/workers", "draining")


@router.get("/audit", openapi_extra=needs("operator"))
async def list_acts(
    request: Request, parts: PartsOf, before: Annotated[str, Query(pattern=r"^([0-9]{1,15}-[0-9]{1,10})?$")] = ""
) -> Response:
    """Show what operators did to no single session, newest first."""
    acts = await parts.operations.acts(limit=PAGE, before=before)
    return render(
        request,
        "audit.html",
        acts=acts,
        before=before,
        next_before=acts[-1].number if len(acts) == PAGE else "",
    )
