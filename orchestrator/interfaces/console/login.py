"""Pages on which a browser says who uses it: by a token of the API, kept in a cookie that no script can read."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from orchestrator.interfaces.console import access
from orchestrator.interfaces.console.pages import FormOf, PageRoute, PartsOf, Text, go, render
from orchestrator.interfaces.http.problems import Refused

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)


@router.get("/login")
async def show_login(request: Request, next: Text = access.HOME) -> Response:  # noqa: A002 - the link's own word
    """Ask for a token; where none is needed, go on."""
    target = access.own_path(next)
    if (
        request.headers.get("sec-fetch-site") == "cross-site"
    ):  # a link led here, and brought no cookies: ask again as ourselves
        return render(request, "again.html", target=target)
    try:
        await access.recognise(request, access.credential_of(request))
    except Refused as refused:
        if refused.status_code not in {401, 403}:
            raise
    else:
        return RedirectResponse(target, 303)
    try:  # a cookie of earlier days must not keep out whom the open door would let in
        await access.recognise(request, "")
    except Refused as refused:
        if refused.status_code != 401:
            raise
        return render(request, "login.html", target=target, problem="")
    answer = RedirectResponse(target, 303)
    access.set_cookie(request, answer, access.CREDENTIAL, "")
    return answer


@router.post("/login")
async def log_in(request: Request, form: FormOf, parts: PartsOf) -> Response:
    """Keep a token that opens something."""
    del parts
    token, target = form.one("token", most=access.MOST_CREDENTIAL), access.own_path(form.one("next"))
    try:
        if not token:
            raise Refused("unauthorized", 401, "paste a token first")
        await access.recognise(request, token)
    except Refused as refused:
        if refused.status_code != 401:
            raise
        answer = render(request, "login.html", target=target, problem=str(refused.detail))
        answer.status_code = 401
        return answer
    answer = RedirectResponse(target, 303)
    access.set_cookie(request, answer, access.CREDENTIAL, token)
    access.set_cookie(request, answer, access.VISIT, "")  # another caller, another visit
    return answer


@router.post("/logout")
async def log_out(request: Request, form: FormOf) -> Response:
    """Forget the token."""
    del form
    answer = go("/console/login", "out")
    access.set_cookie(request, answer, access.CREDENTIAL, "")
    access.set_cookie(request, answer, access.VISIT, "")
    return answer
