"""Routes by which people and programs speak to a session: decide, answer, resume, signal, cancel, retry; the inbox.

What is said under an `Idempotency-Key` is said once, however often it is repeated: a caller whose answer was lost on the way
cannot know whether it was heard. Its name is part of the post's id, so that nobody's key stands in anybody else's way, and
no key is the id of a post of Baton's own. Under a key that stands for something else already nothing is said, and whoever asks
must hear of that: an approval that was taken for the repetition of another one would be waited for in vain.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Annotated, NamedTuple, ParamSpec

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import JsonValue

from orchestrator.answering import verdict_of
from orchestrator.contracts.access import Caller, Role
from orchestrator.contracts.errors import KeyConflict
from orchestrator.contracts.session import Post
from orchestrator.interfaces.http import bodies, models, shapes
from orchestrator.interfaces.http.parts import (
    CallerOf,
    Cursor,
    GuardedRoute,
    Key,
    Limit,
    Parts,
    PartsOf,
    SessionId,
    needs,
)
from orchestrator.operations import ASKS
from orchestrator.operations import Query as Wanted

router = APIRouter(prefix="/v1", tags=["answers"], route_class=GuardedRoute)

P = ParamSpec("P")


def _act(word: str, role: Role) -> Callable[[Callable[P, Awaitable[bool]]], Callable[P, Awaitable[bool]]]:
    """Make of what is done to a session the route POST sessions/ID/WORD: it answers whether it was done now, or before."""

    def add(act: Callable[P, Awaitable[bool]]) -> Callable[P, Awaitable[bool]]:
        @wraps(act)  # the framework reads its parameters
        async def do(*args: P.args, **kwargs: P.kwargs) -> Response:
            return JSONResponse({"changed": await act(*args, **kwargs)}, 202)

        router.post(
            f"/sessions/{{session_id}}/{word}", status_code=202, response_model=models.Done, openapi_extra=needs(role)
        )(do)
        return act

    return add


class _Saying(NamedTuple):
    """What a caller says to one session, under a key or under none."""

    parts: Parts
    session_id: str
    word: str
    caller: Caller
    key: str | None

    @property
    def post_id(self) -> str | None:
        """Return the id of its post, that of nothing else; without a key each is of its own.

        A name with a colon could be read as a shorter one and the beginning of a key. So its length stands before it, behind
        a second colon, with which no other name begins.
        """
        name = self.caller.name
        who = f":{len(name)}:{name}" if ":" in name else name
        return None if self.key is None else f"{self.word}:{who}:{self.key}"

    async def once(self, saying: Awaitable[bool], is_same: Callable[[Post], bool]) -> bool:
        """Say it; return False where it was said before, and raise KeyConflict where that was something else."""
        if await saying:
            return True
        before = None if self.post_id is None else await self.parts.client.find_post(self.session_id, self.post_id)
        if self.key is not None and before is not None and not (before.actor == self.caller.name and is_same(before)):
            raise KeyConflict(self.key, self.session_id)
        return False


async def _answer_once(
    said: _Saying,
    *,
    wait_id: str | None,
    verdict: str | None,
    text: str,
    team: str | None = None,
    value: JsonValue = None,
    fields: Mapping[str, str] | None = None,
) -> bool:
    """Answer what a session asks, once."""

    def is_same(post: Post) -> bool:
        """What was typed into fields is kept as what it means, and cannot be compared."""
        asked = (wait_id or post.wait_id, verdict, team, text, post.value if fields is not None else value)
        return (post.wait_id, post.verdict, post.team, post.text, post.value) == asked

    return await said.once(
        said.parts.client.answer(
            said.session_id,
            actor=said.caller.name,
            text=text,
            value=value,
            fields=fields,
            verdict=verdict,
            team=team,
            wait_id=wait_id,
            post_id=said.post_id,
        ),
        is_same,
    )


@router.get("/approvals", response_model=models.Approvals, openapi_extra=needs("viewer"))
async def list_approvals(
    parts: PartsOf,
    app: Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9_]*$")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List what waits for people: approvals with the exact arguments, questions, uncertain calls."""
    wanted = Wanted(app=app, bucket=ASKS)
    page = await parts.operations.page(wanted, before=shapes.read_cursor(cursor), limit=limit)
    found = [shapes.waiting_shape(record) for record in page.records]
    return JSONResponse(
        {
            "approvals": found,
            "unreadable": shapes.unread_shapes(page),
            "next_cursor": shapes.pack_cursor(page.after),
        }
    )


@_act("decision", "approver")
async def decide(
    session_id: SessionId, body: bodies.DecisionBody, parts: PartsOf, caller: CallerOf, key: Key = None
) -> bool:
    """Approve or deny the call that a session asks about; with `always`, it does not ask about the same one again."""
    said = _Saying(parts, session_id, "decision", caller, key)
    asked = (body.wait_id, verdict_of(allow=body.decision == "approve", always=body.always), body.reason)
    return await said.once(
        parts.client.decide(
            session_id,
            allow=body.decision == "approve",
            actor=caller.name,
            reason=body.reason,
            wait_id=body.wait_id,
            always=body.always,
            post_id=said.post_id,
        ),
        lambda post: (post.wait_id, post.verdict, post.text) == asked,
    )


@_act("answer", "approver")
async def answer(
    session_id: SessionId, body: bodies.AnswerBody, parts: PartsOf, caller: CallerOf, key: Key = None
) -> bool:
    """Answer a question, a plugin's question, or an uncertain call."""
    said = _Saying(parts, session_id, "answer", caller, key)
    return await _answer_once(
        said, wait_id=body.wait_id, verdict=body.verdict, text=body.text, value=body.value, fields=body.fields
    )


@_act("resume", "approver")
async def resume(
    session_id: SessionId, body: bodies.ResumeBody, parts: PartsOf, caller: CallerOf, key: Key = None
) -> bool:
    """Go on with a session that a gate has stopped: with a text, by escalating it to a team, or not at all."""
    said = _Saying(parts, session_id, "answer", caller, key)
    return await _answer_once(said, wait_id=body.wait_id, verdict=body.action, text=body.text, team=body.team)


@_act("signal", "submitter")
async def send_signal(
    session_id: SessionId, body: bodies.SignalBody, parts: PartsOf, caller: CallerOf, key: Key = None
) -> bool:
    """Send a named signal. Under the same `Idempotency-Key` it is sent once."""
    said = _Saying(parts, session_id, "signal", caller, key)
    return await said.once(
        parts.client.signal(session_id, body.name, actor=caller.name, value=body.value, post_id=said.post_id),
        lambda post: (post.name, post.value) == (body.name, body.value),
    )


@_act("cancel", "submitter")
async def cancel(
    session_id: SessionId, parts: PartsOf, caller: CallerOf, body: bodies.CancelBody | None = None, key: Key = None
) -> bool:
    """Ask a session to stop, its running calls done or, with `immediate`, at once; its child sessions too."""
    asked, said = body or bodies.CancelBody(), _Saying(parts, session_id, "cancel", caller, key)
    return await said.once(
        parts.client.cancel(
            session_id, actor=caller.name, reason=asked.reason, immediate=asked.immediate, post_id=said.post_id
        ),
        lambda post: post.immediate == asked.immediate and (not asked.reason or post.text == asked.reason),
    )


@_act("retry", "operator")
async def retry(session_id: SessionId, parts: PartsOf, caller: CallerOf, body: bodies.NoteBody | None = None) -> bool:
    """Send a dead session again, its failures forgotten."""
    await parts.client.replay([session_id], actor=caller.name, note=body.note if body is not None else "")
    return True
