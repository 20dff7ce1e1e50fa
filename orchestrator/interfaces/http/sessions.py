"""Routes of sessions: submit, fork, list, read, verify. Those that follow one are in `streams`."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from orchestrator.contracts.own_keys import check_callers_key
from orchestrator.contracts.phases import Phase
from orchestrator.interfaces.http import bodies, models, shapes
from orchestrator.interfaces.http.parts import CallerOf, Cursor, GuardedRoute, Key, Limit, PartsOf, SessionId, needs
from orchestrator.interfaces.http.problems import Refused
from orchestrator.interfaces.lookups import read_entries
from orchestrator.operations import Query as Wanted

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=GuardedRoute)

#: Entries of one read of a stream or a page.
ENTRIES: Final = 200

Since = Annotated[datetime | None, Query(description="Only those that are where they are since this time or later.")]


@router.post("", status_code=202, response_model=models.Created, openapi_extra=needs("submitter"))
async def submit_session(body: bodies.SubmitBody, parts: PartsOf, caller: CallerOf, key: Key = None) -> Response:
    """Submit a session. The same `Idempotency-Key` gives the same session."""
    made = await parts.client.submit(
        body.app,
        text=body.text,
        overrides=body.state,
        actor=caller.name,
        key=check_callers_key(key),
        priority=body.priority,
        entry_skill=body.skill,
    )
    return JSONResponse(
        {"session_id": made.session_id, "created": made.created},
        202,
        {"Location": f"/v1/sessions/{made.session_id}"},
    )


@router.post("/{session_id}/fork", status_code=202, response_model=models.Forked, openapi_extra=needs("submitter"))
async def fork_session(
    session_id: SessionId,
    parts: PartsOf,
    caller: CallerOf,
    body: bodies.ForkBody | None = None,
    key: Key = None,
) -> Response:
    """Begin a session where another one stood, at any entry of its journal. The same `Idempotency-Key` gives the same fork."""
    asked = body or bodies.ForkBody()
    made = await parts.client.fork(
        session_id,
        at=asked.at,
        state=asked.state,
        version=asked.version,
        actor=caller.name,
        key=check_callers_key(key),
    )
    record = await parts.client.show(made.session_id)
    return JSONResponse(
        {
            "session_id": made.session_id,
            "created": made.created,
            "parent": session_id,
            "forked_at": record.forked_at,
            "skill": record.cursor.skill,
            "spec": record.spec,
        },
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
        return JSONResponse({"sessions": [], "unreadable": [], "next_cursor": None})
    wanted = Wanted(
        app=app,
        bucket=bucket,
        since_at=None if since is None else _millis(since),
        actor=actor,
        parent=parent,
        text=q,
    )
    page = await parts.operations.page(wanted, before=shapes.read_cursor(cursor), limit=limit)
    return JSONResponse(
        {
            "sessions": [shapes.line_shape(record) for record in page.records],
            "unreadable": shapes.unread_shapes(page),
            "next_cursor": shapes.pack_cursor(page.after),
        }
    )


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


@router.get("/{session_id}/verify", response_model=models.Verified, openapi_extra=needs("viewer"))
async def verify_session(session_id: SessionId, parts: PartsOf) -> Response:
    """Rebuild a session from its journal, and say where what is kept differs; nothing is changed."""
    found = await parts.client.verify(session_id)
    return JSONResponse(
        {
            "session_id": found.session_id,
            "ok": not found.differences,
            "entries": found.entries,
            "differences": list(found.differences),
        }
    )
