"""Routes that answer with pages: a caller with its role first, a form only from our own page, errors as pages too."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias
from urllib.parse import quote

from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from orchestrator import __version__
from orchestrator.contracts.access import Caller, Role
from orchestrator.contracts.errors import BatonError
from orchestrator.interfaces.console import access
from orchestrator.interfaces.console.shown import make_environment
from orchestrator.interfaces.http import parts, problems
from orchestrator.interfaces.http.parts import ROLE_KEY, Handler
from orchestrator.interfaces.http.problems import Refused

#: Nothing in a page runs or is drawn but our own files; nobody frames it; it sends its forms to us alone.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

#: What a page says after something was done; links name them, so that none can put words into our mouth.
NOTES: Final[Mapping[str, str]] = {
    "approved": "Approved. The session goes on as soon as a worker takes it.",
    "approved-always": "Approved, and this session does not ask about the same call again.",
    "denied": "Denied. The call is not made.",
    "answered": "Answered. The session goes on as soon as a worker takes it.",
    "escalated": "Escalated.",
    "stopped": "The session was told to stop.",
    "signalled": "The signal was sent.",
    "cancelled": "The session was asked to stop.",
    "cancelled-now": "The session was told to stop at once: calls that run are left.",
    "forked": "This session was forked; its origin is as it was.",
    "known-fork": "This key has made this fork before; nothing new was started.",
    "replayed": "Sent again; its failures are forgotten.",
    "all-replayed": "Dead letters sent again: {count}.",
    "paused": "Paused. What runs comes to the end of its step.",
    "unpaused": "It goes on.",
    "unchanged": "It was so already; nothing changed.",
    "draining": "The worker was told to finish what runs and to take nothing new.",
    "submitted": "Submitted.",
    "known": "This key has started this session before; nothing new was started.",
    "out": "You are logged out.",
}

_templates: Final = make_environment()


class Form:
    """The fields of a form that was sent."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        self.fields = fields

    def one(self, name: str, *, most: int = 10_000) -> str:
        """Return a field's text without the space around it, "" where it was not given; raise Refused if too long."""
        text = self.fields.get(name, [""])[-1].replace("\r\n", "\n").strip()
        if len(text) > most:
            raise Refused("invalid-request", 422, f"{name}: it is over {most} characters; make it shorter")
        return text

    def below(self, prefix: str) -> dict[str, str]:
        """Return the fields whose names begin so, by what follows."""
        named = (name for name in self.fields if name.startswith(prefix))
        return {name.removeprefix(prefix): self.fields[name][-1] for name in named}


class PageRoute(APIRoute):
    """A route of the console."""

    def get_route_handler(self) -> Handler:
        """Return the handler."""
        inner = super().get_route_handler()
        role: Role | None = (self.openapi_extra or {}).get(ROLE_KEY)

        async def handle(request: Request) -> Response:
            try:
                if role is not None:
                    request.state.caller = await access.admit(request, role)
                if request.method == "POST":
                    request.state.form = Form(await access.read_form(request))
                return await inner(request)
            except (BatonError, HTTPException, RequestValidationError) as error:
                return await show_error(request, error)

        return handle


async def show_error(request: Request, error: Exception) -> Response:
    """Answer an error with a page that says what the API's problem says; who is unknown is asked to log in."""
    if isinstance(error, BatonError):
        plain = await problems.on_baton_error(request, error)
    elif isinstance(error, RequestValidationError):
        plain = await problems.on_invalid(request, error)
    else:
        plain = await problems.on_http_exception(request, error)
    if plain.status_code == 401 and request.method == "GET":
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/console/login?next={quote(access.own_path(asked), safe='')}", 303)
    told = json.loads(bytes(plain.body))
    answer = render(
        request,
        "error.html",
        status=plain.status_code,
        title=HTTPStatus(plain.status_code).phrase,
        detail=told["detail"],
    )
    answer.status_code = plain.status_code
    for name in ("retry-after", "allow"):
        if name in plain.headers:
            answer.headers[name] = plain.headers[name]
    return answer


def render(request: Request, template: str, **values: object) -> Response:
    """Return a page."""
    visit = access.visit_of(request)
    caller: Caller | None = getattr(request.state, "caller", None)
    note = NOTES.get(request.query_params.get("note", ""), "")
    count = request.query_params.get("count", "")
    text = _templates.get_template(template).render(
        path=request.url.path,
        caller=caller,
        roles=caller.roles if caller is not None else frozenset(),
        csrf=access.prove(visit, access.credential_of(request)),
        note=note.format(count=count if count.isascii() and count.isdigit() and len(count) < 10 else "0"),
        version=__version__,
        **values,
    )
    answer = HTMLResponse(text, headers=dict(HEADERS))
    if request.cookies.get(access.VISIT) != visit:
        access.set_cookie(request, answer, access.VISIT, visit)
    return answer


def go(path: str, note: str = "", *, count: int | None = None) -> Response:
    """Send the browser to a page after something was done, with a note on it."""
    target = access.own_path(path)
    if note:
        target += ("&" if "?" in target else "?") + f"note={note}" + (f"&count={count}" if count is not None else "")
    return RedirectResponse(target, 303)


async def _form(request: Request) -> Form:
    form = request.state.form
    assert isinstance(form, Form)  # noqa: S101 - PageRoute put it there
    return form


PartsOf: TypeAlias = parts.PartsOf
CallerOf: TypeAlias = parts.CallerOf
FormOf: TypeAlias = Annotated[Form, Depends(_form)]
Text: TypeAlias = Annotated[str, Query(max_length=200)]
