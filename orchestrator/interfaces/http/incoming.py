"""Routes of what comes in and goes out by itself: triggers that others call, webhooks that we send."""

import time
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.triggers import ScheduleTrigger, WebhookTrigger
from orchestrator.interfaces.http import bodies, models, shapes
from orchestrator.interfaces.http.parts import CallerOf, GuardedRoute, PartsOf, needs

router = APIRouter(prefix="/v1", tags=["triggers and webhooks"], route_class=GuardedRoute)

TriggerName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
EndpointName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


@router.get("/triggers", response_model=models.Triggers, openapi_extra=needs("viewer"))
async def list_triggers(parts: PartsOf) -> Response:
    """List the triggers of the loaded apps."""
    found: list[JsonObject] = []
    for spec in parts.client.specs.values():
        for trigger in spec.triggers:
            by_clock = trigger if isinstance(trigger, ScheduleTrigger) else None
            found.append(
                {
                    "name": trigger.name,
                    "app": spec.name,
                    "kind": trigger.kind,
                    "auth": trigger.auth if isinstance(trigger, WebhookTrigger) else None,
                    "schedule": by_clock.schedule if by_clock else None,
                    "timezone": by_clock.timezone if by_clock else None,
                }
            )
    return JSONResponse({"triggers": found})


@router.post(
    "/triggers/{name}",
    status_code=202,
    response_model=models.Created,
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": {}}}},
        "security": [{"bearer": []}, {"signature": []}, {}],
    },
)
async def fire_trigger(request: Request, name: TriggerName, parts: PartsOf) -> Response:
    """Start a session by a webhook of an app. The sender proves itself as the trigger declares it.

    The same `Idempotency-Key`, or `webhook-id`, gives the same session for as long as the trigger remembers it. Where
    messages are signed, the `webhook-id` alone counts.
    """
    bound = parts.triggers.find(name)
    headers = {key.lower(): value for key, value in request.headers.items()}
    if bound.trigger.auth == "token":
        await parts.doorkeeper.admit(request, "submitter")
    else:
        await parts.doorkeeper.count_sender(request, name)
    # A bearer is compared before the body is read; a signature needs it.
    body = b"" if bound.trigger.auth == "bearer" else await request.body()
    parts.triggers.check_sender(bound, headers, body, time.time())
    made = await parts.triggers.start(bound, headers, body or await request.body())
    return JSONResponse(
        {"session_id": made.session_id, "created": made.created},
        202,
        {"Location": f"/v1/sessions/{made.session_id}"},
    )


@router.get("/webhooks", response_model=models.Webhooks, openapi_extra=needs("viewer"))
async def list_webhooks(parts: PartsOf) -> Response:
    """List the endpoints that are told of sessions."""
    off = await parts.webhooks.disabled()
    found: list[JsonObject] = [
        {
            "name": one.name,
            # What follows the host may be a secret of the receiver.
            "url": "/".join(one.url.split("/")[:3]),
            "events": list(one.events),
            "apps": list(one.apps),
            "switched_off": off.get(one.name),
        }
        for one in parts.webhooks.endpoints
    ]
    return JSONResponse({"webhooks": found, "pending": await parts.webhooks.pending()})


@router.post("/webhooks/{name}/enable", response_model=models.Done, openapi_extra=needs("operator"))
async def enable_webhook(name: EndpointName, parts: PartsOf, caller: CallerOf) -> Response:
    """Switch on an endpoint that was switched off."""
    changed = await parts.webhooks.enable(name)
    if changed:
        await parts.operations.audit.write("webhook.enable", actor=caller.name, target=name)
    return JSONResponse({"changed": changed})


@router.get("/undelivered", response_model=models.UndeliveredList, openapi_extra=needs("operator"))
async def list_undelivered(parts: PartsOf) -> Response:
    """List the deliveries that were given up, newest first."""
    found: list[JsonObject] = [
        {
            "delivery_id": one.delivery_id,
            "endpoint": one.endpoint,
            "event": one.event,
            "session_id": one.session_id,
            "at": shapes.iso(one.at),
            "attempts": one.attempts,
            "last_error": one.last_error,
        }
        for one in await parts.webhooks.undelivered()
    ]
    return JSONResponse({"undelivered": found[:1000]})


@router.post("/undelivered/replay", status_code=202, response_model=models.Redelivered, openapi_extra=needs("operator"))
async def replay_undelivered(body: bodies.RedeliverBody, parts: PartsOf, caller: CallerOf) -> Response:
    """Send given-up deliveries again."""
    sent = await parts.webhooks.replay(body.delivery_ids)
    await parts.operations.audit.write("webhook.replay", actor=caller.name, target=f"{len(sent)} deliveries")
    return JSONResponse({"delivery_ids": sent}, 202)
