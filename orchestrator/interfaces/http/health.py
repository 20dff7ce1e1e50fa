"""Routes of the machinery around: is it alive, can it serve, what does it count, what does it offer."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from orchestrator import __version__
from orchestrator.contracts.errors import StoreError
from orchestrator.exporter import CONTENT_TYPE, render
from orchestrator.interfaces.http import models
from orchestrator.interfaces.http.parts import GuardedRoute, PartsOf, needs

router = APIRouter(tags=["health"], route_class=GuardedRoute)

READY_SECONDS: Final = 2.0


@router.get("/healthz", response_model=models.Health, openapi_extra={"security": []})
async def get_health() -> Response:
    """Say that the process lives; it asks nobody."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.get(
    "/readyz",
    response_model=models.Health,
    responses={503: {"model": models.Health, "description": "It cannot serve now."}},
    openapi_extra={"security": []},
)
async def get_readiness(parts: PartsOf) -> Response:
    """Say whether requests can be served: the store answers, and the process does not end."""
    status = "ending" if parts.hub.is_closing else "ok"
    try:
        async with asyncio.timeout(READY_SECONDS):
            await parts.operations.now_ms()
    except (StoreError, TimeoutError):
        status = "the store does not answer"
    return JSONResponse({"status": status, "version": __version__}, 200 if status == "ok" else 503)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    openapi_extra=needs("viewer"),
)
async def export_counters(parts: PartsOf) -> Response:
    """Return the metrics, for Prometheus."""
    page = await render(parts.client, is_archiving=parts.settings.archive.enabled)
    return PlainTextResponse(page, headers={"Content-Type": CONTENT_TYPE})


@router.get("/v1/openapi.json", include_in_schema=False)
async def get_description(request: Request) -> Response:
    """Return the description of all this."""
    return JSONResponse(request.app.openapi())
