"""Who looks at a page, and did the page itself ask: the cookie with a token, the proof against forged requests.

A browser holds two cookies, which no script can read and no other site can make it send: the credential (a token or a
JWT, as it would stand behind `Bearer`), and a random visit. The proof in every form is an HMAC of both, so that any number of
processes can check it and none has to keep it. Where the API asks for no credentials, there is the visit alone.
Whether a credential opens anything is the doorkeeper's to say.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request, Response

from orchestrator.contracts.access import Caller, Role
from orchestrator.interfaces.http.parts import parts_of
from orchestrator.interfaces.http.problems import Refused

HOME: Final = "/console/"
CREDENTIAL: Final = "baton_credential"
VISIT: Final = "baton_visit"
PROOF: Final = "csrf"
COOKIE_SECONDS: Final = 12 * 3600
#: What browsers keep of one cookie, less its name.
MOST_CREDENTIAL: Final = 3_800
MOST_FIELDS: Final = 2_000

_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9._~+/=:-]+")
_VISIT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_OWN_PATH: Final = re.compile(r"/console/[A-Za-z0-9._~:@%?&=+/-]*")


def credential_of(request: Request) -> str:
    """Return the credential that the browser holds, "" for none; what cannot be one is none."""
    text = request.cookies.get(CREDENTIAL, "")
    return text if _is_credential(text) else ""


def _is_credential(text: str) -> bool:
    return len(text) <= MOST_CREDENTIAL and _CREDENTIAL.fullmatch(text) is not None


def presented(request: Request, credential: str) -> Request:
    """Return the request as the doorkeeper reads it: the credential in its header, or none."""
    kept = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    if credential:
        kept.append((b"authorization", f"Bearer {credential}".encode("ascii")))
    return Request({**request.scope, "headers": kept}, request.receive)


async def admit(request: Request, role: Role) -> Caller:
    """Return the caller; raise Refused as the API does."""
    return await parts_of(request).doorkeeper.admit(presented(request, credential_of(request)), role)


async def recognise(request: Request, credential: str) -> Caller:
    """Return whose credential it is; raise Refused for nobody's."""
    if credential and not _is_credential(credential):
        raise Refused("unauthorized", 401, "this is no token; paste the whole of it, and nothing else")
    return await parts_of(request).doorkeeper.identify(presented(request, credential))


def visit_of(request: Request) -> str:
    """Return the visit's number; a browser that has none gets one with the answer."""
    known = getattr(request.state, "visit", None) or request.cookies.get(VISIT, "")
    if not _VISIT.fullmatch(known):
        known = secrets.token_urlsafe(32)
    request.state.visit = known
    return str(known)


def prove(visit: str, credential: str) -> str:
    """Return the proof that a form carries.

    >>> prove("v", "c") == prove("v", "c") != prove("v", "")
    True
    """
    return hmac.new(visit.encode(), f"baton console\n{credential}".encode(), hashlib.sha256).hexdigest()


async def read_form(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form that one of our pages has sent; raise Refused for any other."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused("invalid-request", 415, "only the console's own forms are taken here; use /v1 for programs")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise Refused("invalid-request", 422, "the form cannot be read; go back and send it again") from error
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    visit, told = request.cookies.get(VISIT, ""), form.pop(PROOF, [""])[-1]
    same_site = request.headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}
    is_proved = hmac.compare_digest(prove(visit, credential_of(request)).encode(), told.encode())
    if not (_VISIT.fullmatch(visit) and is_proved and same_site):
        raise Refused(
            "forbidden", 403, "the form is not from a page that you have open, or is too old; load the page again"
        )
    return form


def set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """Let the browser keep a cookie for the console alone; an empty value takes it away."""
    is_secure = "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "").lower()}
    response.set_cookie(
        name,
        value,
        max_age=COOKIE_SECONDS if value else 0,
        path="/console",
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )


def own_path(text: str) -> str:
    """Return a path of the console, or its first page for what is none.

    >>> own_path("/console/sessions?q=a"), own_path("//evil.example"), own_path("/console/../x")
    ('/console/sessions?q=a', '/console/', '/console/')
    """
    fits = len(text) <= 1_000 and _OWN_PATH.fullmatch(text) is not None and "//" not in text and ".." not in text
    return text if fits else HOME
