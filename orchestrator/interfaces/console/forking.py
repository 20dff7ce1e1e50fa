"""The page that forks a session: where another one stood after an entry, with keys of its state and its app's version to choose."""

from typing import Annotated, Final
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from orchestrator.contracts.errors import InputError, PhaseRefused
from orchestrator.contracts.own_keys import check_callers_key
from orchestrator.contracts.session import Record
from orchestrator.forks import CURRENT
from orchestrator.interfaces.console.pages import CallerOf, Form, FormOf, PageRoute, PartsOf, go, render
from orchestrator.interfaces.console.shown import link
from orchestrator.interfaces.console.submitting import read_state
from orchestrator.interfaces.http.parts import Parts, SessionId, needs

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

_FIELDS: Final = ("at", "state", "version", "key")


@router.get("/sessions/{session_id}/fork", openapi_extra=needs("submitter"))
async def show_form(
    request: Request, session_id: SessionId, parts: PartsOf, at: Annotated[int, Query(ge=0, le=10**9)] = 0
) -> Response:
    """Show the form. It brings a key, so that sending it twice starts one session."""
    record = await parts.client.show(session_id)
    asked = {"at": str(at or ""), "state": "", "version": "", "key": f"console-{uuid4().hex}"}
    return _page(request, parts, record, asked, "")


@router.post("/sessions/{session_id}/fork", openapi_extra=needs("submitter"))
async def fork(request: Request, session_id: SessionId, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Fork it, or show the form again with what is wrong."""
    try:
        made = await parts.client.fork(
            session_id,
            at=_read_number(form),
            state=read_state(form) or None,
            version=form.one("version", most=100) or None,
            actor=caller.name,
            key=check_callers_key(form.one("key", most=200) or None),
        )
    except (InputError, PhaseRefused) as error:
        asked = {name: form.one(name, most=1_000_000) for name in _FIELDS}
        answer = _page(request, parts, await parts.client.show(session_id), asked, str(error))
        answer.status_code = 422
        return answer
    return go(link(made.session_id), "forked" if made.created else "known-fork")


def _page(request: Request, parts: Parts, record: Record, asked: dict[str, str], problem: str) -> Response:
    spec = parts.client.specs.get(record.app)
    here = spec.digest() if spec is not None else ""
    return render(
        request,
        "fork.html",
        record=record,
        asked=asked,
        problem=problem,
        here=here if here != record.spec else "",
        current=CURRENT,
    )


def _read_number(form: Form) -> int | None:
    text = form.one("at", most=20)
    if text and not (text.isascii() and text.isdigit()):
        raise InputError(f"entry {text!r}: it is a number from the timeline; leave it out for the last one with work")
    return int(text) if text else None
