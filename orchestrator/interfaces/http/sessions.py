"""Routes of sessions: submit, list, read, follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestrator.contracts.base import dump_json
from orchestrator.contracts.phases import Phase
from orchestrator.interfaces.http import bodies, models, shapes
from orchestrator.interfaces.http.hub import Topic
from orchestrator.interfaces.http.parts import CallerOf, Cursor, GuardedRoute, Limit, Parts, PartsOf, SessionId, needs
from orchestrator.interfaces.http.problems import Refused
from orchestrator.interfaces.lookups import read_entries
from orchestrator.operations import Query as Wanted

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=GuardedRoute)

#: A stream that is silent is told that it lives, before anything between us closes it.
SILENT_SECONDS: Final = 15.0
#: How long a stream goes on before its credentials are looked at again.
BELIEVED_SECONDS: Final = 30.0
#: Entries of one read of a stream or a page.
ENTRIES: Final = 200

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key means the same session, for as long as it is known.",
    ),
]
Since = Annotated[datetime | None, Query(description="Only those that are where they are since this time or later.")]


@router.post("", status_code=202, response_model=models.Created, openapi_extra=needs("submitter"))
async def submit_session(body: bodies.SubmitBody, parts: PartsOf, caller: CallerOf, key: Key = None) -> Response:
    """Submit a session. The same `Idempotency-Key` gives the same session."""
    made = await parts.client.submit(
        body.app,
        text=body.text,
        overrides=body.state,
        actor=caller.name,
        key=key,
        priority=body.priority,
        entry_skill=body.skill,
    )
    return JSONResponse(
        {"session_id": made.session_id, "created": made.created},
        202,
        {"Location": f"/v1/sessions/{made.session_id}"},
    )


@router.get("", response_model=models.Sessions, openapi_extra=needs("viewer"))
async def list_sessions(
    parts: PartsOf,
    app: Annotated[str, Query(max_length=64)] = "",
    phase: Phase | None = None,
    status: Annotated[str, Query(max_length=200, description="Only ended ones, with this status.")] = "",
    since: Since = None,
    actor: Annotated[str, Query(max_length=200)] = "",
    parent: Annotated[str, Query(max_length=64)] = "",
    q: Annotated[str, Query(max_length=200, description="Looked for in ids and texts.")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List sessions, newest first. A page may be short and still have a next one, where filters leave many out."""
    if status and phase not in {None, "ended"}:
        raise Refused("invalid-request", 422, "status: only ended sessions have one; leave out phase")
    bucket = f"ended/{status}" if status else phase or ""
    if ":" in app or ":" in bucket:
        return JSONResponse({"sessions": [], "next_cursor": None})
    wanted = Wanted(
        app=app,
        bucket=bucket,
        since_at=None if since is None else _millis(since),
        actor=actor,
        parent=parent,
        text=q,
    )
    page = await parts.operations.page(wanted, before=shapes.read_cursor(cursor), limit=limit)
    lines = [shapes.line_shape(record) for record in page.records]
    return JSONResponse({"sessions": lines, "next_cursor": shapes.pack_cursor(page.after)})


def _millis(at: datetime) -> int:
    try:
        seconds = at.timestamp()
    except (OverflowError, ValueError) as error:
        raise Refused("invalid-request", 422, "since: too far away; give a time of these years") from error
    return min(max(int(seconds * 1000), 0), 10**14)


@router.get("/{session_id}", response_model=models.Session, openapi_extra=needs("viewer"))
async def get_session(session_id: SessionId, parts: PartsOf) -> Response:
    """Return a session: where it is, what it waits for, what it has."""
    record = await parts.client.show(session_id)
    return JSONResponse({**shapes.session_shape(record), **shapes.line_shape(record)})


@router.get("/{session_id}/state", response_model=dict[str, object], openapi_extra=needs("viewer"))
async def get_state(session_id: SessionId, parts: PartsOf) -> Response:
    """Return a session's state."""
    return JSONResponse((await parts.client.show(session_id)).state)


@router.get("/{session_id}/context", response_model=models.Messages, openapi_extra=needs("viewer"))
async def get_context(
    session_id: SessionId, parts: PartsOf, start: Annotated[int, Query(ge=0, le=1_000_000)] = 0
) -> Response:
    """Return the messages that a session's models see, from number `start` on."""
    messages = await parts.client.context(session_id, start=start)
    found = [shapes.message_shape(number, one) for number, one in enumerate(messages, start=start)]
    return JSONResponse({"messages": found})


@router.get("/{session_id}/journal", response_model=models.Journal, openapi_extra=needs("viewer"))
async def get_journal(
    session_id: SessionId,
    parts: PartsOf,
    after: Annotated[int, Query(ge=0, le=10**12, description="Entries with higher numbers.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = ENTRIES,
) -> Response:
    """Return what happened in a session, oldest first."""
    await parts.client.show(session_id)
    entries = await read_entries(parts.client, session_id, after, limit + 1)
    more = len(entries) > limit
    shown = [shapes.entry_shape(entry) for entry in entries[:limit]]
    return JSONResponse({"entries": shown, "next_after": entries[limit - 1].seq if more else None})


@router.get(
    "/{session_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Entries as they come.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "It has ended, and everything was told."},
    },
    openapi_extra=needs("viewer"),
)
async def follow_session(
    request: Request,
    session_id: SessionId,
    parts: PartsOf,
    after: Annotated[int, Query(ge=0, le=10**12, description="As Last-Event-ID, for the first connection.")] = 0,
    last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,12}$")] = None,
) -> Response:
    """Stream a session's journal: each entry an event, its number the id. `event: end` follows when it is settled."""
    begin = int(last) if last is not None else after
    record = await parts.client.show(session_id)
    if record.phase == "ended" and begin >= record.seq:
        return Response(status_code=204)
    watching = contextlib.AsyncExitStack()
    topic = await watching.enter_async_context(parts.hub.watch(session_id))
    return _Events(_stream(parts, request, topic, session_id, begin), watching)


class _Events(StreamingResponse):
    """A stream that gives its place back however it ends, also where it never began."""

    def __init__(self, events: AsyncIterator[str], watching: contextlib.AsyncExitStack) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._watching = watching

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._watching:
            await super().__call__(scope, receive, send)


async def _stream(parts: Parts, request: Request, topic: Topic, session_id: str, begin: int) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    seq, clock = begin, asyncio.get_running_loop()
    known_until = clock.time() + BELIEVED_SECONDS
    while not parts.hub.is_closing:
        if clock.time() >= known_until:
            try:
                await parts.doorkeeper.identify(request)
            except Refused:  # revoked, or run out: the next connection is told so
                return
            known_until = clock.time() + BELIEVED_SECONDS
        entries = await read_entries(parts.client, session_id, seq, ENTRIES)
        for entry in entries:
            seq = entry.seq
            yield f"id: {seq}\nevent: {_word(entry.kind)}\ndata: {dump_json(shapes.entry_shape(entry))}\n\n"
        if entries:
            record = await parts.client.show(session_id)
            if record.phase in {"ended", "dead"} and record.seq <= seq:
                yield f"event: end\ndata: {dump_json(shapes.line_shape(record))}\n\n"
                return
        if not await parts.hub.wait_beyond(topic, seq, SILENT_SECONDS):
            yield ": still here\n\n"


def _word(kind: str) -> str:
    return "".join(sign for sign in kind if sign.isalnum() or sign in "._-") or "entry"
