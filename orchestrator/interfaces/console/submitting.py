"""The page that starts a session."""

from typing import Final
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.errors import InputError
from orchestrator.contracts.own_keys import check_callers_key
from orchestrator.contracts.session import Priority
from orchestrator.interfaces.console.pages import CallerOf, Form, FormOf, PageRoute, PartsOf, Text, go, render
from orchestrator.interfaces.console.shown import link
from orchestrator.interfaces.http.parts import needs

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
_FIELDS: Final = ("app", "text", "state", "skill", "priority", "key")


@router.get("/submit", openapi_extra=needs("submitter"))
async def show_form(request: Request, parts: PartsOf, app: Text = "") -> Response:
    """Show the form. It brings a key, so that sending it twice starts one session."""
    asked = {**dict.fromkeys(_FIELDS, ""), "app": app, "priority": "normal", "key": f"console-{uuid4().hex}"}
    return render(request, "submit.html", specs=parts.client.specs, asked=asked, problem="", priorities=PRIORITIES)


@router.post("/submit", openapi_extra=needs("submitter"))
async def submit(request: Request, parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Start a session, or show the form again with what is wrong."""
    try:
        made = await parts.client.submit(
            form.one("app", most=100),
            text=form.one("text", most=200_000),
            overrides=read_state(form),
            actor=caller.name,
            key=check_callers_key(form.one("key", most=200) or None),
            priority=_read_priority(form),
            entry_skill=form.one("skill", most=100) or None,
        )
    except InputError as error:
        asked = {name: form.one(name, most=1_000_000) for name in _FIELDS}
        answer = render(
            request, "submit.html", specs=parts.client.specs, asked=asked, problem=str(error), priorities=PRIORITIES
        )
        answer.status_code = 422
        return answer
    return go(link(made.session_id), "submitted" if made.created else "known")


def read_state(form: Form) -> JsonObject:
    """Return the object in the field `state`, {} where nothing was typed; raise InputError."""
    text = form.one("state", most=1_000_000)
    if not text:
        return {}
    try:
        found: JsonValue = load_json(text)
    except ValueError as error:
        raise InputError(f'state: no JSON ({error}); write an object, as in {{"name": "value"}}') from error
    if not isinstance(found, dict):
        raise InputError('state: it must be a JSON object, as in {"name": "value"}')
    return found


def _read_priority(form: Form) -> Priority:
    word = form.one("priority") or "normal"
    if word not in PRIORITIES:
        raise InputError(f"priority {word!r}: say one of {', '.join(PRIORITIES)}")
    return word
