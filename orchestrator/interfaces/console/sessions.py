"""Pages of sessions: the list with filters and search, one session with its whole story, and what can be done to it."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from orchestrator.contracts.errors import SessionNotFound, Unreadable
from orchestrator.contracts.ids import is_session_id
from orchestrator.contracts.phases import PHASES, SETTLED
from orchestrator.contracts.session import Entry, Record
from orchestrator.contracts.streaming import FIRST_OFFSET, StreamPiece
from orchestrator.interfaces.cli.wording import describe_grant, describe_where, list_commands
from orchestrator.interfaces.console import access, story
from orchestrator.interfaces.console.graph import draw_family
from orchestrator.interfaces.console.pages import CallerOf, FormOf, PageRoute, PartsOf, Text, go, render
from orchestrator.interfaces.console.shown import link
from orchestrator.interfaces.http.parts import Parts, SessionId, needs
from orchestrator.interfaces.http.shapes import pack_cursor, read_cursor
from orchestrator.interfaces.http.streams import OFFSET, follow_models, follow_session
from orchestrator.operations import Query as Wanted
from orchestrator.search import Unread

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

PAGE: Final = 50
#: A search looks at records one by one; so many are shown.
MOST_FOUND: Final = 200
#: Entries and messages that one page shows; earlier ones are a link away.
ENTRIES: Final = 400
MESSAGES: Final = 200
MOST_CHILDREN: Final = 40


@router.get("/sessions", openapi_extra=needs("viewer"))
async def list_sessions(
    request: Request,
    parts: PartsOf,
    app: Text = "",
    phase: Text = "",
    status: Text = "",
    actor: Text = "",
    parent: Text = "",
    q: Text = "",
    cursor: Text = "",
) -> Response:
    """List sessions, newest first."""
    app, phase, status, actor, parent, q = (one.strip() for one in (app, phase, status, actor, parent, q))
    if is_session_id(q) and not (app or phase or status or actor or parent):
        return go(link(q))
    is_impossible = (
        ":" in app + phase + status or (phase not in {"", *PHASES}) or (status and phase not in {"", "ended"})
    )
    records: Sequence[Record] = ()
    unread: Sequence[Unread] = ()
    after = None
    if is_impossible:
        pass
    elif q:
        found = await parts.client.search(
            q.split()[:10], app=app or None, before=read_cursor(cursor or None), limit=MOST_FOUND
        )
        records = [one.record for one in found.listed if _fits(one.record, phase, status, actor, parent)]
        unread, after = found.unread, pack_cursor(found.after)
    else:
        bucket = f"ended/{status}" if status else phase
        page = await parts.operations.page(
            Wanted(app=app, bucket=bucket, actor=actor, parent=parent), before=read_cursor(cursor or None), limit=PAGE
        )
        records, unread, after = page.records, page.unread, pack_cursor(page.after)
    apps = sorted({*parts.client.specs, *await parts.client.views.apps()})
    return render(
        request,
        "sessions.html",
        records=records,
        unread=unread,
        lines=[describe_where(record) for record in records],
        asked={"app": app, "phase": phase, "status": status, "actor": actor, "parent": parent, "q": q},
        is_filtered=bool(app or phase or status or actor or parent or q),
        next_cursor=after,
        cursor=cursor,
        apps=apps,
        phases=PHASES,
        statuses=sorted({status for spec in parts.client.specs.values() for status in spec.statuses}),
        kinds=_kinds(parts),
        now=await parts.operations.now_ms(),
    )


def _fits(record: Record, phase: str, status: str, actor: str, parent: str) -> bool:
    return (
        (not phase or record.phase == phase)
        and (not status or record.status == status)
        and (not actor or record.actor == actor)
        and (not parent or record.parent == parent)
    )


def _kinds(parts: Parts) -> dict[tuple[str, str], str]:
    """Return the kind of each app's statuses."""
    return {
        (name, status): one.kind for name, spec in parts.client.specs.items() for status, one in spec.statuses.items()
    }


@router.get("/sessions/{session_id}", openapi_extra=needs("viewer"))
async def show_session(
    request: Request,
    session_id: SessionId,
    parts: PartsOf,
    before: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """Show one session."""
    client = parts.client
    record, now = await client.show(session_id), await parts.operations.now_ms()
    last = min(before - 1, record.seq) if before else record.seq
    entries = await _read(parts, session_id, max(last - ENTRIES, 0), last)
    messages = await client.context(session_id)
    skipped = max(len(messages) - MESSAGES, 0)
    children = story.list_children(entries, record)
    family = await _family(parts, record, list(children))
    runs = story.list_runs(entries)
    letters = await parts.operations.letters([record]) if record.phase == "dead" else []
    spec = client.specs.get(record.app)
    return render(
        request,
        "session.html",
        record=record,
        now=now,
        where=describe_where(record, now),
        kind=spec.statuses[record.status].kind if spec and record.status in spec.statuses else "plain",
        is_known=spec is not None and spec.digest() == record.spec,
        rows=story.list_rows(entries, now, is_over=record.phase in {"ended", "dead"}),
        first=entries[0].seq if entries else 0,
        last=last,
        calls=story.list_calls(entries),
        pending=list((await client.intents(session_id)).values()),
        decisions=story.list_decisions(entries),
        runs=runs,
        messages=list(enumerate(messages))[skipped:],
        skipped=skipped,
        end=story.why_it_ended(entries, record),
        letter=letters[0] if letters else {},
        children=children,
        relatives={one.session_id: one for one in family},
        family=draw_family(record, family, children),
        commands=list(list_commands(record)),
        signal=record.wait.signal if record.wait else None,
        base_version=record.spec,
        used=story.list_used(record, spec.budget if spec else None),
        grants=[describe_grant(one) for one in record.hooks.grants] if record.hooks else [],
        writing=await _writing(parts, record),
        can_stream=record.phase not in SETTLED and (spec is None or spec.model.stream),
    )


async def _writing(parts: Parts, record: Record) -> list[StreamPiece]:
    """Return what a model is writing just now, from its answer's beginning; [] where none does."""
    if record.phase in SETTLED:
        return []
    kept = [piece async for piece in parts.client.stream(record.session_id, follow=False)]
    begun = max((number for number, piece in enumerate(kept) if piece.kind == "begin"), default=len(kept))
    return [] if any(piece.kind in {"end", "failed"} for piece in kept[begun:]) else kept[begun:]


async def _read(parts: Parts, session_id: str, after: int, last: int) -> list[Entry]:
    found: list[Entry] = []
    if last <= after:
        return found
    async for entry in parts.client.events(session_id, after=after):
        found.append(entry)
        if entry.seq >= last or len(found) >= ENTRIES:
            break
    return found


async def _family(parts: Parts, record: Record, children: list[str]) -> list[Record]:
    """Return the parent and the first children, as far as they can be read."""
    wanted = ([record.parent] if record.parent else []) + children[:MOST_CHILDREN]
    found = await asyncio.gather(*(_show(parts, one) for one in wanted if is_session_id(one)))
    return [one for one in found if one is not None]


async def _show(parts: Parts, session_id: str) -> Record | None:
    try:
        return await parts.client.show(session_id)
    except (SessionNotFound, Unreadable):  # removed since, or a dead letter that nobody can read
        return None


@router.get("/sessions/{session_id}/events", openapi_extra=needs("viewer"))
async def follow(request: Request, session_id: SessionId, parts: PartsOf) -> Response:
    """Stream what happens in a session to its page."""
    last = request.headers.get("last-event-id", "")
    known = request.query_params.get("after", "")
    after = int(known) if known.isascii() and known.isdigit() and len(known) < 13 else 0
    told = last if last.isascii() and last.isdigit() and len(last) < 13 else None
    asking = access.presented(request, access.credential_of(request))  # it is asked for again while the stream lasts
    return await follow_session(asking, session_id, parts, after, told)


@router.get("/sessions/{session_id}/stream", openapi_extra=needs("viewer"))
async def follow_words(request: Request, session_id: SessionId, parts: PartsOf) -> Response:
    """Stream what its models write to its page; texts come as people may read them."""
    last, known = request.headers.get("last-event-id", ""), request.query_params.get("after", "")
    after = next((one for one in (last, known) if re.fullmatch(OFFSET, one)), FIRST_OFFSET)
    asking = access.presented(request, access.credential_of(request))
    return await follow_models(asking, session_id, parts, after, last if after == last else None)


# --- what can be done to it


@router.post("/sessions/{session_id}/cancel", openapi_extra=needs("submitter"))
async def cancel(session_id: SessionId, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Ask it to stop, its running calls done or at once."""
    is_now = form.one("immediate") == "yes"
    await parts.client.cancel(session_id, actor=caller.name, reason=form.one("reason", most=2_000), immediate=is_now)
    return go(link(session_id), "cancelled-now" if is_now else "cancelled")


@router.post("/sessions/{session_id}/signal", openapi_extra=needs("submitter"))
async def send_signal(session_id: SessionId, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Send it a signal by name."""
    await parts.client.signal(session_id, form.one("name", most=200), actor=caller.name)
    return go(link(session_id), "signalled")


@router.post("/sessions/{session_id}/retry", openapi_extra=needs("operator"))
async def retry(session_id: SessionId, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Send a dead session again."""
    await parts.client.replay([session_id], actor=caller.name, note=form.one("note", most=2_000))
    return go(form.one("back") or link(session_id), "replayed")
