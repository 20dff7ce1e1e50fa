"""What waits for people: approvals with exactly what would be called, questions, gates, calls that may have acted."""

from typing import Final

from fastapi import APIRouter, Request, Response

from orchestrator.interfaces.cli.wording import list_commands
from orchestrator.interfaces.console.pages import CallerOf, FormOf, PageRoute, PartsOf, Text, go, render
from orchestrator.interfaces.console.shown import link
from orchestrator.interfaces.http.parts import SessionId, needs
from orchestrator.interfaces.http.problems import Refused
from orchestrator.interfaces.http.shapes import pack_cursor, read_cursor
from orchestrator.operations import ASKS
from orchestrator.operations import Query as Wanted

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

PAGE: Final = 25
_NOTES: Final = {"approve": "approved", "always": "approved-always", "deny": "denied"}


@router.get("/inbox", openapi_extra=needs("viewer"))
async def list_asking(request: Request, parts: PartsOf, app: Text = "", cursor: Text = "") -> Response:
    """List what waits for a person, newest first."""
    wanted = Wanted(app="" if ":" in app else app, bucket=ASKS)
    page = await parts.operations.page(wanted, before=read_cursor(cursor or None), limit=PAGE)
    groups = await parts.operations.asking()
    return render(
        request,
        "inbox.html",
        records=page.records,
        unread=page.unread,
        commands={record.session_id: list(list_commands(record)) for record in page.records},
        next_cursor=pack_cursor(page.after),
        app=app,
        apps=sorted({one.app for one in groups}),
        total=sum(one.count for one in groups),
        oldest=min((one.oldest_at for one in groups), default=0),
        now=await parts.operations.now_ms(),
    )


@router.post("/sessions/{session_id}/decide", openapi_extra=needs("approver"))
async def decide(session_id: SessionId, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Approve or deny the call that was shown, and no other."""
    word = form.one("decision")
    if word not in {"approve", "always", "deny"}:
        raise Refused("invalid-request", 422, "decision: say approve, always or deny")
    await parts.client.decide(
        session_id,
        allow=word != "deny",
        always=word == "always",
        actor=caller.name,
        reason=form.one("reason", most=2_000),
        wait_id=form.one("wait_id", most=300),
    )
    return go(form.one("back") or link(session_id), _NOTES[word])


@router.post("/sessions/{session_id}/answer", openapi_extra=needs("approver"))
async def answer(session_id: SessionId, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Answer the question that was shown: by words, by fields, by a verdict."""
    verdict = form.one("verdict", most=100) or None
    fields = {name: text for name, text in form.below("field.").items() if text.strip()}
    is_answer = verdict in {None, "resume_with_input"}
    await parts.client.answer(
        session_id,
        actor=caller.name,
        text=form.one("text"),
        verdict=verdict,
        team=form.one("team", most=200) or None if verdict == "escalate" else None,
        fields=fields if is_answer and fields else None,
        wait_id=form.one("wait_id", most=300),
    )
    note = {"stop": "stopped", "escalate": "escalated"}.get(verdict or "", "answered")
    return go(form.one("back") or link(session_id), note)
