"""Each role's token against each route: what is not allowed is refused before anything is read, and what is allowed is not."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.contracts.access import Role, expand_roles
from orchestrator.interfaces.console.pages import PageRoute
from orchestrator.interfaces.http.parts import ROLE_KEY
from orchestrator.interfaces.mcp.mount import mount_mcp
from tests.api_stage import ROLES, ApiStage, api_settings, api_stage
from tests.architecture.source_tree import ROOT

DESCRIPTION = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8"))
GUARDED = sorted(
    (method.upper(), path, operation[ROLE_KEY])
    for path, ways in DESCRIPTION["paths"].items()
    for method, operation in ways.items()
    if ROLE_KEY in operation
)
#: What everybody may ask for, and the one operation whose senders prove themselves in their own way.
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/v1/triggers/{name}")}
#: Written out, so that a route that changes hands is seen here.
TABLE: dict[Role, set[tuple[str, str]]] = {
    "submitter": {
        ("POST", "/v1/sessions"),
        ("POST", "/v1/sessions/{session_id}/fork"),
        ("POST", "/v1/sessions/{session_id}/signal"),
        ("POST", "/v1/sessions/{session_id}/cancel"),
    },
    "approver": {
        ("POST", "/v1/sessions/{session_id}/decision"),
        ("POST", "/v1/sessions/{session_id}/answer"),
        ("POST", "/v1/sessions/{session_id}/resume"),
    },
    "operator": {
        ("POST", "/v1/sessions/{session_id}/retry"),
        ("POST", "/v1/dead-letters/replay"),
        ("POST", "/v1/queues/{name}/pause"),
        ("POST", "/v1/queues/{name}/unpause"),
        ("POST", "/v1/apps/{name}/pause"),
        ("POST", "/v1/apps/{name}/unpause"),
        ("POST", "/v1/workers/{name}/drain"),
        ("POST", "/v1/webhooks/{name}/enable"),
        ("GET", "/v1/undelivered"),
        ("POST", "/v1/undelivered/replay"),
        ("GET", "/v1/audit"),
    },
}


def fill(path: str) -> str:
    """Return a path with something in its places."""
    for name, value in {"session_id": "EVERY-20260101-001", "name": "steps", "pool": "steps"}.items():
        path = path.replace("{" + name + "}", value)
    return path


def without_stream(path: str) -> str:
    """Return the path of the session that a stream is of."""
    return path.removesuffix("/events").removesuffix("/stream")


def ask_all(store_url: str, role: Role | None) -> dict[tuple[str, str], int]:
    """Ask for every guarded route with a body that no route reads, and return the statuses."""

    async def run() -> dict[tuple[str, str], int]:
        async with api_stage(store_url) as api:
            found = {}
            for method, path, _ in GUARDED:
                # With a role, a stream does not end: its session is asked for instead.
                asked = path if role is None else without_stream(path)
                answer = await api.call(method, fill(asked), role, content=b"{not json")
                found[method, asked] = answer.status_code
            return found

    return asyncio.run(run())


def test_every_route_says_its_role() -> None:
    """A route without a role would be open to everybody: each is in the table, or open on purpose."""
    every = {(method.upper(), path) for path, ways in DESCRIPTION["paths"].items() for method in ways}
    said = {(method, path): role for method, path, role in GUARDED}

    assert every - said.keys() == OPEN
    for role, routes in TABLE.items():
        assert {route for route, one in said.items() if one == role} == routes
    assert {method for (method, _), role in said.items() if role == "viewer"} == {"GET"}


#: What the description does not name: its own address, the way to the console, the console's files. Its pages have a table of
#: their own (test_console_access.py), and /mcp asks as the API does (test_mcp.py).
HIDDEN = {("GET", "/v1/openapi.json"), ("GET", "/"), ("GET", "/console"), ("GET", "/console/static/{name}")}


def list_routes(routes: Any) -> Iterator[tuple[str, Any]]:
    """Yield every route below these, with each of its methods."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from list_routes(inner.routes)
        else:
            yield from ((method, route) for method in route.methods)


def test_no_route_is_left_out_of_the_tables(store_url: str) -> None:
    """One that is added and not described would be asked for by nobody here, and perhaps be open to everybody."""

    async def run() -> set[tuple[str, str]]:
        async with api_stage(store_url) as api:
            mount_mcp(api.app)
            every = [(method, one) for method, one in list_routes(api.app.routes) if not isinstance(one, PageRoute)]
            return {(method, one.path) for method, one in every}

    described = {(method.upper(), path) for path, ways in DESCRIPTION["paths"].items() for method in ways}

    assert asyncio.run(run()) - described == HIDDEN | {("POST", "/mcp")}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_what_it_says_and_nothing_else(store_url: str, role: Role) -> None:
    """The refusal comes before the body is read: who may not do a thing learns nothing of how it is done."""
    needed = {(method, without_stream(path)): one for method, path, one in GUARDED}

    found = ask_all(store_url, role)

    allowed = expand_roles((role,))
    wrong = {
        route: status
        for route, status in found.items()
        if (status == 403) == (needed[route] in allowed) or status == 401
    }
    assert wrong == {}


def test_without_credentials_nothing_is_open(store_url: str) -> None:
    """Not even what only reads."""
    assert set(ask_all(store_url, None).values()) == {401}


@pytest.mark.parametrize(
    "header",
    [
        "Bearer baton_wrong",
        "Bearer ",
        "bearer",
        "Basic dTpw",
        "Bearer a.b.c",
        "Bearer baton_" + "x" * 20_000,
        "baton_operator",
    ],
)
def test_wrong_credentials_are_refused(store_url: str, header: str) -> None:
    """And the answer says how to ask, not what was wrong."""

    async def run() -> Any:
        async with api_stage(store_url) as api:
            return await api.call("GET", "/v1/me", None, headers={"Authorization": header})

    answer = asyncio.run(run())

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:baton:problem:unauthorized"


def test_guessing_is_slowed_down(store_url: str) -> None:
    """An address that tries many wrong tokens waits; who has a right one is served meanwhile."""

    async def run() -> tuple[list[int], int, str]:
        async with api_stage(store_url, api_settings(refusals_per_minute=3)) as api:
            wrong = [
                await api.call("GET", "/v1/me", None, headers={"Authorization": f"Bearer baton_{number}"})
                for number in range(5)
            ]
            right = await api.call("GET", "/v1/me", "viewer")
            return [one.status_code for one in wrong], right.status_code, wrong[-1].headers["retry-after"]

    statuses, right, after = asyncio.run(run())

    assert statuses == [401, 401, 401, 429, 429]
    assert right == 200
    assert int(after) >= 1


def test_a_caller_has_a_rate(store_url: str) -> None:
    """One caller's loop must not take the API from the others."""

    async def run() -> tuple[list[int], int, Any]:
        async with api_stage(store_url, api_settings(requests_per_second=0.01, requests_burst=3)) as api:
            mine = [await api.call("GET", "/v1/me", "viewer") for _ in range(5)]
            other = await api.call("GET", "/v1/me", "operator")
            return [one.status_code for one in mine], other.status_code, mine[-1]

    statuses, other, last = asyncio.run(run())

    assert statuses == [200, 200, 200, 429, 429]
    assert other == 200
    assert 0 < int(last.headers["retry-after"]) <= 100
    assert last.json()["type"] == "urn:baton:problem:too-many-requests"


def test_an_open_door_is_for_this_machine_alone(store_url: str) -> None:
    """A page of another site in the same browser, or a name that was made to lead here, opens nothing."""

    async def run() -> list[int]:
        async with api_stage(store_url, open_actor="ada") as api:
            asked: list[dict[str, str]] = [
                {},
                {"host": "localhost:8080", "origin": "http://localhost:8080"},
                {"host": "[::1]:8080"},
                {"host": "evil.example:8080"},
                {"origin": "https://evil.example"},
                {"origin": "null"},
                {"sec-fetch-site": "cross-site"},
            ]
            return [(await api.call("GET", "/v1/me", None, headers=one)).status_code for one in asked]

    assert asyncio.run(run()) == [200, 200, 200, 403, 403, 403, 403]


def test_a_token_is_made_used_and_revoked(store_url: str) -> None:
    """Its secret is nowhere in the store, and it opens nothing the moment after it was revoked."""

    async def run(api: ApiStage) -> tuple[list[int], str, list[str]]:
        operations = api.app.state.parts.operations
        secret, _ = await operations.make_token("ci", ["submitter"], actor="ada")
        spent, _ = await operations.make_token("old", ["viewer"], actor="ada", seconds=-1)
        headers = {"Authorization": f"Bearer {secret}"}
        first = await api.call("POST", "/v1/sessions", None, headers=headers, json={"app": "everything"})
        kept = str(await api.on.store.command("HGETALL", "baton:tokens"))
        over = await api.call("GET", "/v1/me", None, headers={"Authorization": f"Bearer {spent}"})
        await operations.revoke_token("ci", actor="ada")
        after = await api.call("GET", "/v1/me", None, headers=headers)
        record = await api.on.client.show(first.json()["session_id"])
        acts = [one.act for one in await operations.acts(limit=10)]
        assert secret not in kept
        return [first.status_code, over.status_code, after.status_code], record.actor, acts

    async def play() -> tuple[list[int], str, list[str]]:
        async with api_stage(store_url) as api:
            return await run(api)

    statuses, actor, acts = asyncio.run(play())

    assert statuses == [202, 401, 401]
    assert actor == "ci"
    assert acts == ["token.revoke", "token.new", "token.new"]
