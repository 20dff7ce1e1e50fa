"""Who may look and who may act: cookies, proofs, roles, headers, and addresses that lead nowhere."""

from typing import Any

import pytest

from orchestrator.contracts.access import Role, expand_roles
from orchestrator.interfaces.console.pages import PageRoute
from orchestrator.interfaces.http.parts import ROLE_KEY
from tests.api_stage import ROLES, SECRETS, ApiStage, api_settings, play
from tests.console_stage import Browser, browse

#: Written out, so that a page that changes hands is seen here.
TABLE: dict[Role | None, set[tuple[str, str]]] = {
    None: {
        ("GET", "/console/login"),
        ("POST", "/console/login"),
        ("POST", "/console/logout"),
        ("GET", "/console/{path:path}"),
    },
    "viewer": {
        ("GET", "/console/"),
        ("GET", "/console/live"),
        ("GET", "/console/sessions"),
        ("GET", "/console/sessions/{session_id}"),
        ("GET", "/console/sessions/{session_id}/events"),
        ("GET", "/console/sessions/{session_id}/stream"),
        ("GET", "/console/inbox"),
        ("GET", "/console/dead"),
        ("GET", "/console/queues"),
        ("GET", "/console/workers"),
        ("GET", "/console/apps"),
        ("GET", "/console/apps/{name}"),
    },
    "submitter": {
        ("GET", "/console/submit"),
        ("POST", "/console/submit"),
        ("GET", "/console/sessions/{session_id}/fork"),
        ("POST", "/console/sessions/{session_id}/fork"),
        ("POST", "/console/sessions/{session_id}/cancel"),
        ("POST", "/console/sessions/{session_id}/signal"),
    },
    "approver": {
        ("POST", "/console/sessions/{session_id}/decide"),
        ("POST", "/console/sessions/{session_id}/answer"),
    },
    "operator": {
        ("POST", "/console/sessions/{session_id}/retry"),
        ("POST", "/console/dead/replay"),
        ("POST", "/console/pause"),
        ("POST", "/console/unpause"),
        ("POST", "/console/workers/drain"),
        ("GET", "/console/audit"),
    },
}


def fill(path: str) -> str:
    """Return a path with something in its places."""
    return path.replace("{session_id}", "EVERY-20260101-001").replace("{name}", "nothing").replace("{path:path}", "no")


async def list_routes(api: ApiStage) -> set[tuple[str, str, Role | None]]:
    """Return every route of the console with its role."""
    routes = _routes(api.app.routes)
    return {
        (method, route.path, (route.openapi_extra or {}).get(ROLE_KEY)) for route in routes for method in route.methods
    }


def _routes(routes: Any) -> list[PageRoute]:
    found = []
    for route in routes:
        if isinstance(route, PageRoute):
            found.append(route)
        else:
            inner = getattr(route, "original_router", None)
            found += _routes(inner.routes) if inner is not None else []
    return found


def test_every_page_says_its_role(store_url: str) -> None:
    """A page without a role would be open to everybody: each is in the table."""
    routes = play(store_url, list_routes)

    assert routes == {(method, path, role) for role, every in TABLE.items() for method, path in every}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_its_pages_and_no_others(store_url: str, role: Role) -> None:
    """A token that may only look must not be able to act by knowing a form's address."""

    async def act(api: ApiStage) -> dict[tuple[str, str], int]:
        browser = await browse(api, role)
        proof = (await browser.open("/console/sessions")).form("/console/logout")
        found = {}
        for needed, routes in TABLE.items():
            for method, path in sorted(routes) if needed is not None else ():
                if path.endswith(("/live", "/events", "/stream")):
                    continue  # a stream does not end
                form = dict(proof) if method == "POST" else None
                found[method, path] = (await browser.send(method, fill(path), form)).status_code
        return found

    statuses = play(store_url, act)

    may = expand_roles((role,))
    for needed, routes in TABLE.items():
        for one in routes & statuses.keys():
            assert (statuses[one] == 403) is (needed not in may), (one, statuses[one])


def test_who_is_unknown_is_asked_to_log_in_and_then_led_on(store_url: str) -> None:
    """A link from a chat leads to its page after the login, and never to another site."""

    async def act(api: ApiStage) -> Any:
        browser = Browser(api)
        asked = await browser.send("GET", "/console/sessions?phase=ready")
        linked = await browser.send("GET", asked.headers["location"], **{"sec-fetch-site": "cross-site"})
        page = await browser.open(asked.headers["location"])
        wrong = await browser.send(
            "POST", "/console/login", {**page.form("/console/login"), "token": "baton_wrong", "next": "//evil.example"}
        )
        form = {**page.form("/console/login"), "token": SECRETS["viewer"]}
        evil = await Browser(api, dict(browser.cookies)).send(
            "POST", "/console/login", {**form, "next": "//evil.example"}
        )
        right = await browser.send("POST", "/console/login", form)
        return asked, linked.text, wrong, evil, right, await browser.send("POST", "/console/pause", {})

    asked, linked, wrong, evil, right, forged = play(store_url, act)

    assert asked.status_code == 303
    assert asked.headers["location"] == "/console/login?next=%2Fconsole%2Fsessions%3Fphase%3Dready"
    assert 'http-equiv="refresh"' in linked
    assert (wrong.status_code, evil.status_code, right.status_code) == (401, 303, 303)
    assert evil.headers["location"] == "/console/"
    assert right.headers["location"] == "/console/sessions?phase=ready"
    assert forged.status_code == 403
    kept = next(line for line in right.headers.get_list("set-cookie") if line.startswith("baton_credential="))
    assert "HttpOnly" in kept and "SameSite=strict" in kept and "Path=/console" in kept


@pytest.mark.parametrize(
    "change", ["none", "of another visit", "without the cookie", "cross-site", "as JSON", "too many"]
)
def test_a_form_that_no_page_of_ours_sent_does_nothing(store_url: str, change: str) -> None:
    """Another site can make a browser send a form, but it knows neither the visit nor the token."""

    async def act(api: ApiStage) -> tuple[int, int]:
        browser = await browse(api)
        form: dict[str, Any] = {
            **(await browser.open("/console/queues")).form("/console/pause"),
            "target": "queue:steps",
        }
        headers: dict[str, str] = {}
        match change:
            case "none":
                del form["csrf"]
            case "of another visit":
                form["csrf"] = (await (await browse(api)).open("/console/queues")).form("/console/pause")["csrf"]
            case "without the cookie":
                del browser.cookies["baton_visit"]
            case "cross-site":
                headers["sec-fetch-site"] = "cross-site"
            case "as JSON":
                headers["content-type"] = "text/plain"
            case "too many":
                form |= {f"f{number}": "1" for number in range(2_001)}
        answer = await browser.send("POST", "/console/pause", form, **headers)
        return answer.status_code, len(await api.app.state.parts.operations.pauses())

    status, paused = play(store_url, act)

    assert status in {403, 415, 422}
    assert paused == 0


def test_an_open_door_needs_no_login_and_still_its_proof(store_url: str) -> None:
    """On this machine nobody logs in; a page of another site opens nothing all the same."""

    async def act(api: ApiStage) -> Any:
        browser = Browser(api, {"baton_credential": "baton_of-earlier-days"})
        stale = await browser.send("GET", "/console/")
        page = await browser.open("/console/queues")
        done = await browser.submit(page, "/console/pause", hidden={"target": "queue:steps"}, reason="look")
        forged = await browser.send("POST", "/console/unpause", {"target": "queue:steps"})
        other = await browser.send("GET", "/console/", **{"sec-fetch-site": "cross-site"})
        named = await browser.send("GET", "/console/", host="evil.example")
        return stale.status_code, done.text, [one.status_code for one in (forged, other, named)]

    stale, text, refused = play(store_url, act, open_actor="ada")

    assert stale == 303
    assert "Paused." in text and "by ada" in text
    assert refused == [403, 403, 403]


def test_pages_carry_the_headers_that_keep_them_alone(store_url: str) -> None:
    """Nothing inline runs, nobody frames a page, and no cache keeps it; errors are pages too."""

    async def act(api: ApiStage) -> Any:
        browser = await browse(api, "viewer")
        paths = ["/console/", "/console/sessions/EVERY-20260101-001", "/console/nowhere", "/console/static/../mount.py"]
        files = ["console.css", "console.js", "icon.svg", "nothing.css", "..%2fmount.py"]
        found = [await browser.send("GET", path) for path in [*paths, "/console/sessions/x y"]]
        return found, [await browser.send("GET", f"/console/static/{name}") for name in files]

    pages, files = play(store_url, act)

    assert [one.status_code for one in pages] == [200, 404, 404, 404, 422]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["content-type"].startswith("text/html")
    assert [one.status_code for one in files] == [200, 200, 200, 404, 404]
    assert "immutable" in files[0].headers["cache-control"]


def test_logging_out_forgets_the_token(store_url: str) -> None:
    """The next person at the browser starts with nothing."""

    async def act(api: ApiStage) -> tuple[str, dict[str, str], int]:
        browser = await browse(api, "viewer")
        page = await browser.open("/console/")
        left = await browser.submit(page, "/console/logout")
        return left.text, browser.cookies, (await browser.send("GET", "/console/")).status_code

    text, cookies, status = play(store_url, act)

    assert "You are logged out." in text
    assert "baton_credential" not in cookies
    assert status == 303


def test_a_caller_has_a_rate_here_too(store_url: str) -> None:
    """A page that reloads itself for ever must not take the API from the others; it is told when to come back."""

    async def act(api: ApiStage) -> list[Any]:
        browser = Browser(api, {"baton_credential": SECRETS["viewer"]})
        return [await browser.send("GET", "/console/apps") for _ in range(4)]

    answers = play(store_url, act, settings=api_settings(requests_per_second=0.01, requests_burst=2))

    assert [one.status_code for one in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
