"""Every error as problem+json (RFC 9457): which class of error is which problem, and what a caller may learn of it.

`type` is `urn:baton:problem:NAME`; a name never changes its meaning. `detail` is the error's own message for what the caller can
mend, and one neutral sentence for what is wrong on our side: that is in the log.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from orchestrator.contracts.errors import (
    AppCodeFailed,
    BatonError,
    InputError,
    KeyConflict,
    NotPermitted,
    NotWaiting,
    PayloadTooLarge,
    PhaseRefused,
    SessionNotFound,
    StoreUnreachable,
    UnknownApp,
    Unreadable,
)
from orchestrator.telemetry import redact
from orchestrator.triggers import SenderRefused, UnknownTrigger

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 2


class FieldProblem(BaseModel):
    """One thing that is wrong in a request: where (dotted, from body, path, query or header), and what."""

    where: str
    message: str


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    type: str = Field(description="`urn:baton:problem:NAME`.", examples=["urn:baton:problem:not-waiting"])
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What happened, and what to do.")
    instance: str = Field(default="", description="The path that was asked for.")
    errors: list[FieldProblem] = Field(default=[], description="What is wrong in the request, all at once.")


class Refused(HTTPException):
    """A refusal of the API itself: a name, a status, a message for the caller, headers."""

    def __init__(self, name: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.name = name
        super().__init__(status, detail, dict(headers or {}))


#: The first class that fits: its problem, its status.
_OF: Final[Sequence[tuple[type[BatonError], str, int]]] = (
    (SenderRefused, "unauthorized", 401),
    (UnknownTrigger, "not-found", 404),
    (SessionNotFound, "session-not-found", 404),
    (NotPermitted, "not-permitted", 403),
    (NotWaiting, "not-waiting", 409),
    (PhaseRefused, "phase-refused", 409),
    (KeyConflict, "key-conflict", 422),
    (PayloadTooLarge, "too-large", 413),
    (UnknownApp, "unknown-app", 422),
    (InputError, "invalid-request", 422),
    (StoreUnreachable, "store-unreachable", 503),
    (AppCodeFailed, "app-failed", 500),
    (Unreadable, "unreadable", 500),
)
_BY_STATUS: Final[Mapping[int, str]] = {
    400: "invalid-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    413: "too-large",
    429: "too-many-requests",
    503: "unavailable",
}
#: Every name of a problem that the API may answer with.
NAMES: Final = frozenset({*(name for _, name, _ in _OF), *_BY_STATUS.values(), "internal"})


def respond(
    request: Request,
    name: str,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldProblem] = (),
) -> Response:
    """Return a problem as a response."""
    # What an app's code or a server said may hold what it was given: a secret that was loaded here leaves by no answer.
    body = make_problem(name, status, redact(detail), instance=request.url.path, errors=errors)
    return JSONResponse(body.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def make_problem(
    name: str, status: int, detail: str, *, instance: str = "", errors: Sequence[FieldProblem] = ()
) -> Problem:
    """Return a problem."""
    return Problem(
        type=f"urn:baton:problem:{name}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        errors=list(errors),
    )


async def on_baton_error(request: Request, error: Exception) -> Response:
    """Answer an error of ours."""
    for kind, name, status in _OF:
        if isinstance(error, kind):
            if status >= 500:
                log.warning("%s %s: %s", request.method, request.url.path, error)
            headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
            if status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            detail = "the store cannot be reached; try again soon" if status == 503 else str(error)
            return respond(request, name, status, detail, headers=headers)
    return await on_unexpected(request, error)


async def on_unexpected(request: Request, error: Exception) -> Response:
    """Answer what nobody expected, without telling what it was."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return respond(request, "internal", 500, "it failed on our side; the log of the API says why")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: no such route, no such method, a body that cannot be read."""
    if not isinstance(error, HTTPException):
        return await on_unexpected(request, error)
    name = error.name if isinstance(error, Refused) else _BY_STATUS.get(error.status_code, "invalid-request")
    detail = str(error.detail)
    if not isinstance(error, Refused):
        detail = {
            404: f"{request.url.path[:200]}: there is nothing here; see /v1/openapi.json",
            405: f"{request.method} is not for {request.url.path[:200]}; see the header Allow",
        }.get(error.status_code, detail)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_allowed(request) | set(headers.get("Allow", "").split(", ")) - {""}))
    return respond(request, name, error.status_code, detail, headers=headers)


def _allowed(request: Request) -> set[str]:
    """Return the methods of a path that are described; the framework tells those of its first route alone."""
    return {
        method.upper()
        for path, operations in request.app.openapi()["paths"].items()
        if compile_path(path)[0].match(request.url.path)
        for method in operations
    }


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answer a request that does not fit its route, with all that is wrong in it."""
    if not isinstance(error, RequestValidationError):
        return await on_unexpected(request, error)
    found = [
        FieldProblem(where=".".join(str(part) for part in one["loc"]) or "request", message=str(one["msg"]))
        for one in error.errors()
    ]
    told = "; ".join(f"{one.where}: {one.message}" for one in found[:5])
    cure = "mend the request"
    if any(one.where == "body" for one in found) and not _says_json(request):
        cure = "send a JSON object, with `Content-Type: application/json`"
    return respond(request, "invalid-request", 422, f"{told}; {cure}", errors=found[:50])


def _says_json(request: Request) -> bool:
    """Say whether a request's body is said to be JSON; else the framework takes it for a text, whatever it holds."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
