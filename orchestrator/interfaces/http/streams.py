"""Routes that follow a session as event streams: its journal, and what its models write.

Both go on behind `Last-Event-ID`, say that they live where they are silent, look at the credentials again from time to time, and
end with the session. The journal's misses nothing; that of a model's words is for watching: what counts is in the journal.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import StoreUnreachable, Unreadable
from orchestrator.contracts.phases import SETTLED
from orchestrator.contracts.streaming import FIRST_OFFSET
from orchestrator.interfaces.cli.shapes import piece_shape
from orchestrator.interfaces.http import shapes
from orchestrator.interfaces.http.hub import Topic
from orchestrator.interfaces.http.parts import GuardedRoute, Parts, PartsOf, SessionId, needs
from orchestrator.interfaces.http.problems import Refused
from orchestrator.interfaces.http.sessions import ENTRIES
from orchestrator.interfaces.lookups import read_entries

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=GuardedRoute)
log = logging.getLogger(__name__)

#: A stream that is silent is told that it lives, before anything between us closes it.
SILENT_SECONDS: Final = 15.0
#: How long a stream goes on before its credentials are looked at again.
BELIEVED_SECONDS: Final = 30.0
OFFSET: Final = r"^[0-9]{1,16}-[0-9]{1,10}$"


def _answers(what: str) -> dict[int | str, dict[str, Any]]:
    text = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        200: {"description": what, "content": text},
        204: {"description": "It has ended, and everything was told."},
    }


@router.get(
    "/{session_id}/events",
    response_class=StreamingResponse,
    responses=_answers("Entries as they come."),
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
    record = await parts.client.show(session_id)
    begin = min(after, record.seq)
    if (
        last is not None
    ):  # a number that this journal has not come to is another one's: everything is told, and nothing missed
        begin = int(last) if int(last) <= record.seq else 0
    if record.phase == "ended" and begin >= record.seq:
        return Response(status_code=204)
    watching = contextlib.AsyncExitStack()
    topic = await watching.enter_async_context(parts.hub.watch(session_id))
    return _Events(_while_there(_entries(parts, request, topic, session_id, begin), session_id), watching)


@router.get(
    "/{session_id}/stream",
    response_class=StreamingResponse,
    responses=_answers("Pieces as they are written."),
    openapi_extra=needs("viewer"),
)
async def follow_models(
    request: Request,
    session_id: SessionId,
    parts: PartsOf,
    after: Annotated[str, Query(pattern=OFFSET, description="As Last-Event-ID, for the first connection.")] = (
        FIRST_OFFSET
    ),
    last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=OFFSET)] = None,
) -> Response:
    """Stream what a session's models write: each piece an event, its offset the id. `event: settled` follows when it is."""
    begin = last or after
    record = await parts.client.show(session_id)
    if record.phase in SETTLED and last is not None and not await _read_pieces(parts, session_id, begin):
        return Response(status_code=204)
    watching = contextlib.AsyncExitStack()
    topic = await watching.enter_async_context(parts.hub.watch(session_id))
    return _Events(_while_there(_pieces(parts, request, topic, session_id, begin), session_id), watching)


async def _while_there(events: AsyncIterator[str], session_id: str) -> AsyncIterator[str]:
    """Hand on events until the store is away, or one cannot be read; who comes back behind the last one misses nothing."""
    try:
        async for event in events:
            yield event
            # A page is many events, and none of them waits for anything by itself: this is where it is heard that the other
            # side has gone, and where everybody else gets a turn.
            await asyncio.sleep(0)
    except (StoreUnreachable, Unreadable) as error:
        log.warning("event stream of %s ends early: %s", session_id, error)


class _Events(StreamingResponse):
    """A stream that gives its place back however it ends, also where it never began."""

    def __init__(self, events: AsyncIterator[str], watching: contextlib.AsyncExitStack) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._watching = watching

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._watching:
            await super().__call__(scope, receive, send)


class _Belief:
    """Looks at a stream's credentials again, every so often."""

    def __init__(self, parts: Parts, request: Request) -> None:
        self._parts, self._request = parts, request
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + BELIEVED_SECONDS

    async def holds(self) -> bool:
        """Return False for those that were revoked or ran out: the next connection is told so."""
        if self._clock() >= self._until:
            try:
                await self._parts.doorkeeper.identify(self._request)
            except Refused:
                return False
            self._until = self._clock() + BELIEVED_SECONDS
        return True


async def _entries(parts: Parts, request: Request, topic: Topic, session_id: str, begin: int) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    seq, belief = begin, _Belief(parts, request)
    while not parts.hub.is_closing and await belief.holds():
        entries = await read_entries(parts.client, session_id, seq, ENTRIES)
        for entry in entries:
            seq = entry.seq
            yield _event(_word(entry.kind), shapes.entry_shape(entry), str(seq))
        if entries:
            record = await parts.client.show(session_id)
            if record.phase in SETTLED and record.seq <= seq:
                yield _event("end", shapes.line_shape(record))
                return
        if not await parts.hub.wait_beyond(topic, seq, SILENT_SECONDS):
            yield ": still here\n\n"


async def _pieces(parts: Parts, request: Request, topic: Topic, session_id: str, begin: str) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    offset, belief, clock = begin, _Belief(parts, request), asyncio.get_running_loop().time
    told_at = clock()
    while not parts.hub.is_closing and await belief.holds():
        record = await parts.client.show(session_id)  # before its pieces: none comes after it was seen settled
        pieces = await _read_pieces(parts, session_id, offset)
        for number, piece in pieces:
            offset = number
            yield _event(str(piece["kind"]), piece, number)
        if pieces:
            told_at = clock()
        elif record.phase in SETTLED:
            yield _event("settled", shapes.line_shape(record))
            return
        elif clock() - told_at > SILENT_SECONDS:
            yield ": still here\n\n"
            told_at = clock()
        await parts.hub.wait_beyond(topic, topic.seq, parts.settings.api.stream_seconds)


async def _read_pieces(parts: Parts, session_id: str, after: str) -> list[tuple[str, JsonObject]]:
    """Return what is kept behind an offset, each piece with its own."""
    return [
        (piece.offset, piece_shape(piece)) async for piece in parts.client.stream(session_id, after=after, follow=False)
    ]


def _event(name: str, data: JsonObject, number: str = "") -> str:
    begin = f"id: {number}\n" if number else ""
    return f"{begin}event: {name}\ndata: {dump_json(data)}\n\n"


def _word(kind: str) -> str:
    return "".join(sign for sign in kind if sign.isalnum() or sign in "._-") or "entry"
