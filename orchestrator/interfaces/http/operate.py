"""Routes of operators: dead letters, queues and pauses, workers, apps, scale, the log, who asks."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import suggest
from orchestrator.interfaces.cli.fleet import load_workers
from orchestrator.interfaces.http import bodies, models, shapes
from orchestrator.interfaces.http.parts import CallerOf, Cursor, GuardedRoute, Limit, Parts, PartsOf, SessionId, needs
from orchestrator.interfaces.http.problems import Refused
from orchestrator.interfaces.lookups import read_apps
from orchestrator.operations import Query as Wanted
from orchestrator.replaying import choose_letters, send_letters
from orchestrator.scaling import Pool

router = APIRouter(prefix="/v1", tags=["operate"], route_class=GuardedRoute)

QueueName = Literal["steps", "plugins", "finalize"]
AppName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
WorkerName = Annotated[str, Path(min_length=1, max_length=300, pattern=r"^[A-Za-z0-9._:@-]+$")]


# --- dead letters


@router.get("/dead-letters", response_model=models.DeadLetters, openapi_extra=needs("viewer"))
async def list_dead_letters(
    parts: PartsOf,
    app: Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9_]*$")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List dead letters, newest first."""
    wanted = Wanted(app=app, bucket="dead")
    page = await parts.operations.page(wanted, before=shapes.read_cursor(cursor), limit=limit)
    infos = await parts.operations.letters(page.records)
    letters = [shapes.letter_shape(record, info) for record, info in zip(page.records, infos, strict=True)]
    return JSONResponse(
        {
            "dead_letters": letters,
            "unreadable": shapes.unread_shapes(page),
            "next_cursor": shapes.pack_cursor(page.after),
        }
    )


@router.get("/dead-letters/{session_id}", response_model=models.DeadLetter, openapi_extra=needs("viewer"))
async def get_dead_letter(session_id: SessionId, parts: PartsOf) -> Response:
    """Return a dead letter: why, after how many attempts, where it stopped."""
    record = await parts.client.show(session_id)
    if record.phase != "dead":
        raise Refused("session-not-found", 404, f"session {session_id}: it is {record.phase}, not a dead letter")
    return JSONResponse(shapes.letter_shape(record, (await parts.operations.letters([record]))[0]))


@router.post("/dead-letters/replay", status_code=202, response_model=models.Replayed, openapi_extra=needs("operator"))
async def replay_dead_letters(body: bodies.ReplayBody, parts: PartsOf, caller: CallerOf) -> Response:
    """Send dead letters again; with `dry_run`, only say which."""
    if body.everything == bool(body.session_ids):
        raise Refused("invalid-request", 422, "give session_ids, or all: true; one of the two")
    if not body.everything and (body.reason or body.app):
        raise Refused("invalid-request", 422, "reason and app go with all: true")
    operations = parts.operations
    chosen = body.session_ids or await choose_letters(operations, app=body.app, reason=body.reason)
    if not body.dry_run:
        chosen = await send_letters(operations, chosen, actor=caller.name, note=body.note, named=not body.everything)
    return JSONResponse({"session_ids": list(chosen), "dry_run": body.dry_run}, 202)


# --- queues, pauses


@router.get("/queues", response_model=models.Queues, openapi_extra=needs("viewer"))
async def list_queues(parts: PartsOf) -> Response:
    """List queues with what stands in line, since when, and what is paused."""
    now = await parts.operations.now_ms()
    queues: list[JsonObject] = [
        {
            "queue": line.queue,
            "in_line": line.in_line,
            "oldest_seconds": None if line.oldest_at is None else max(now - line.oldest_at, 0) / 1000,
            "running": line.running,
            "slots": line.slots,
            "workers": line.workers,
            "paused": line.is_paused,
        }
        for line in await parts.operations.lines()
    ]
    pauses = [
        {"target": one.target, "at": shapes.iso(one.at), "actor": one.actor, "reason": one.reason}
        for one in await parts.operations.pauses()
    ]
    return JSONResponse({"queues": queues, "pauses": pauses})


@router.post("/queues/{name}/pause", response_model=models.Done, openapi_extra=needs("operator"))
async def pause_queue(
    name: QueueName, parts: PartsOf, caller: CallerOf, body: bodies.PauseBody | None = None
) -> Response:
    """Wake nothing new of a queue; what runs comes to the end of its step."""
    return await _pause(parts, f"queue:{name}", caller.name, body)


@router.post("/queues/{name}/unpause", response_model=models.Done, openapi_extra=needs("operator"))
async def unpause_queue(name: QueueName, parts: PartsOf, caller: CallerOf) -> Response:
    """Let a queue go on."""
    return JSONResponse({"changed": await parts.operations.unpause(f"queue:{name}", actor=caller.name)})


@router.post("/apps/{name}/pause", response_model=models.Done, openapi_extra=needs("operator"))
async def pause_app(name: AppName, parts: PartsOf, caller: CallerOf, body: bodies.PauseBody | None = None) -> Response:
    """Wake nothing new of an app; what runs comes to the end of its step."""
    return await _pause(parts, f"app:{name}", caller.name, body)


@router.post("/apps/{name}/unpause", response_model=models.Done, openapi_extra=needs("operator"))
async def unpause_app(name: AppName, parts: PartsOf, caller: CallerOf) -> Response:
    """Let an app go on."""
    return JSONResponse({"changed": await parts.operations.unpause(f"app:{name}", actor=caller.name)})


async def _pause(parts: Parts, target: str, actor: str, body: bodies.PauseBody | None) -> Response:
    reason = body.reason if body is not None else ""
    return JSONResponse({"changed": await parts.operations.pause(target, actor=actor, reason=reason)})


# --- workers, apps


@router.get("/workers", response_model=models.Workers, openapi_extra=needs("viewer"))
async def list_workers(parts: PartsOf) -> Response:
    """List who is at work: workers and schedulers."""
    return JSONResponse({"workers": [shape for shape, _ in await load_workers(parts.client)]})


@router.post("/workers/{name}/drain", status_code=202, response_model=models.Done, openapi_extra=needs("operator"))
async def drain_worker(name: WorkerName, parts: PartsOf, caller: CallerOf) -> Response:
    """Let a worker finish what runs and take nothing new."""
    alive = [info.name for info in await parts.client.workers()]
    if name not in alive:
        raise Refused("not-found", 404, f"worker {name}: not alive; {suggest(name, alive)}, see /v1/workers")
    await parts.operations.drain_worker(name, actor=caller.name)
    return JSONResponse({"changed": True}, 202)


@router.get("/apps", response_model=models.Apps, openapi_extra=needs("viewer"))
async def list_apps(parts: PartsOf) -> Response:
    """List the apps that are loaded here, with their sessions by phase."""
    return JSONResponse({"apps": await read_apps(parts.operations, list(parts.client.specs))})


@router.get("/apps/{name}", response_model=models.App, openapi_extra=needs("viewer"))
async def get_app(name: AppName, parts: PartsOf) -> Response:
    """Return an app."""
    if name not in parts.client.specs:
        raise Refused("not-found", 404, f"app {name}: not loaded here; {suggest(name, parts.client.specs)}")
    return JSONResponse((await read_apps(parts.operations, [name]))[0])


@router.get("/scale/{pool}", response_model=models.Scale, openapi_extra=needs("viewer"))
async def get_scale(
    pool: Pool,
    parts: PartsOf,
    over: Annotated[
        float, Query(ge=0, le=10, description="Seconds to watch the pace, where nobody asked lately.")
    ] = 1.0,
) -> Response:
    """Say how many workers a pool wants, for an autoscaler (`desired_workers`, `load`), as `baton scale advise` does."""
    load, advice = await parts.pool_watch.advise(pool, over_seconds=over)
    return JSONResponse(
        {
            **advice.model_dump(mode="json"),
            "in_line": load.in_line,
            "running": load.running,
            "oldest_seconds": load.oldest_seconds,
            "paused": load.paused,
            "reason": "; ".join(advice.reasons),
        }
    )


# --- the log, the caller


@router.get("/audit", response_model=models.Audit, openapi_extra=needs("operator"))
async def list_acts(
    parts: PartsOf,
    limit: Limit = 50,
    cursor: Annotated[str, Query(pattern=r"^([0-9]{1,15}-[0-9]{1,10})?$")] = "",
) -> Response:
    """List what operators did to no single session, newest first; what was done to one is in its journal."""
    acts = await parts.operations.acts(limit=limit, before=cursor)
    found: list[JsonObject] = [
        {"at": shapes.iso(one.at), "actor": one.actor, "act": one.act, "target": one.target, "data": one.data}
        for one in acts
    ]
    return JSONResponse({"acts": found, "next_cursor": acts[-1].number if len(acts) == limit else None})


@router.get("/me", response_model=models.Me, openapi_extra=needs("viewer"))
async def get_me(caller: CallerOf) -> Response:
    """Say who asks, and with which roles."""
    return JSONResponse({"name": caller.name, "roles": sorted(caller.roles), "way": caller.way})
