"""Baton as an MCP server, driven by the official SDK: a session from submit to end, as tools and as a task; who may do what."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp_types import TextResourceContents

from orchestrator.contracts.access import Token, digest_token
from orchestrator.interfaces.mcp.mount import mount_mcp
from orchestrator.interfaces.mcp.tasks import EXTENSION
from tests.api_stage import ROLES, Served, api_settings, bearer, served
from tests.integration.api_child import api_process
from tests.integration.mcp_caller import TasksClient, ask, call, over_http, refusal, stdio
from tests.stage import stage

#: Tool → the role that it asks for: what the pages of docs/reference promise.
TABLE = {
    "viewer": {
        "list_sessions", "get_session", "wait_for_session", "get_journal", "get_context",
        "list_approvals", "list_apps", "list_dead_letters",
    },
    "submitter": {"submit_session", "signal_session", "cancel_session"},
    "approver": {"approve", "deny", "answer"},
    "operator": {"retry_session", "replay_dead_letters"},
}  # fmt: skip
#: What each role may do: everybody may look, and an operator may do everything.
MAY = {role: TABLE["viewer"] | TABLE[role] for role in ROLES} | {"operator": set().union(*TABLE.values())}


@pytest.fixture
def api(env: Mapping[str, str], store_url: str) -> Iterator[Served]:
    """The API with /mcp, on a port."""
    del env
    with served(store_url, mount=mount_mcp) as made:
        yield made


def work_on(store_url: str) -> Callable[[str], Awaitable[object]]:
    """Return what a worker does with a session: its steps, until it waits or ends."""

    async def work(session_id: str) -> None:
        async with stage(store_url) as on:
            await on.run(on.worker(), session_id)

    return work


async def drive(client: Client, work: Callable[[str], Awaitable[object]]) -> dict[str, Any]:
    """Submit a session whose call asks a person, approve it, and return it as it has ended."""
    made = await call(client, "submit_session", app="everything", text="go on", state={"plan": "danger"})
    session_id = made["session_id"]
    await work(session_id)
    waiting = await call(client, "wait_for_session", session_id=session_id, seconds=20)
    inbox = await call(client, "list_approvals", app="everything")
    assert [one["session_id"] for one in inbox["approvals"]] == [session_id]
    assert waiting["wait"]["call"]["args"] == {"target": "x"}
    stale = await refusal(client, "approve", session_id=session_id, wait_id="another")
    assert "not for this approval" in stale
    await call(client, "approve", session_id=session_id, wait_id=waiting["wait"]["wait_id"], reason="go")
    await work(session_id)
    return await call(client, "wait_for_session", session_id=session_id, seconds=20)


def test_a_session_is_driven_over_stdio(env: Mapping[str, str], store_url: str, tmp_path: Path) -> None:
    """An agent on this machine starts `baton mcp` and acts as the person who lets it."""

    async def run() -> tuple[dict[str, Any], dict[str, Any], str]:
        async with stdio(env, "--as", "grace") as client:
            ended = await drive(client, work_on(store_url))
            journal = await call(client, "get_journal", session_id=ended["session_id"], limit=200)
            read = await client.read_resource(f"baton://sessions/{ended['session_id']}/journal")
            [contents] = read.contents
            assert isinstance(contents, TextResourceContents)
            return ended, journal, contents.text

    ended, journal, text = asyncio.run(run())

    assert (ended["phase"], ended["status"]) == ("ended", "fine")
    assert (tmp_path / "ledger").read_text() == "danger x\n"
    calls = [one for entry in journal["entries"] for one in entry["calls"]]
    assert (calls[0]["approver"], calls[0]["rationale"]) == ("grace", "go")
    assert '"approver":"grace"' in text


def test_what_is_submitted_over_stdio_is_traced_from_there(env: Mapping[str, str], store_url: str) -> None:
    """One trace a session begins with whoever submits it."""
    traced = {**env, "BATON_TRACING_ENABLED": "true", "BATON_TRACING_EXPORTER": "console"}

    async def run() -> str:
        async with stdio(traced, "--as", "ada") as client:
            made = await call(client, "submit_session", app="everything")
        async with stage(store_url) as on:
            return (await on.client.show(made["session_id"])).trace

    assert asyncio.run(run()).startswith("00-")


def test_stdio_offers_what_its_role_allows(env: Mapping[str, str]) -> None:
    """Whoever lets an agent look does not let it submit."""

    async def run() -> tuple[set[str], str]:
        async with stdio(env, "--as", "ada", "--role", "viewer") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            return names, await refusal(client, "submit_session", app="everything")

    names, refused = asyncio.run(run())

    assert names == MAY["viewer"]
    assert refused == "tool submit_session: ada lacks the role submitter; ask an operator for it"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_session_is_driven_over_http(api: Served, store_url: str, tmp_path: Path, mode: str) -> None:
    """The token's name is the actor, whichever version of the protocol the client speaks; the roster holds here too."""

    async def run() -> tuple[dict[str, Any], str]:
        async with over_http(api.base, bearer("operator"), mode=mode) as client:
            made = await call(client, "submit_session", app="everything", state={"plan": "danger"})
            await work_on(store_url)(made["session_id"])
            waiting = await call(client, "get_session", session_id=made["session_id"])
            wait_id = waiting["wait"]["wait_id"]
            refused = await refusal(client, "approve", session_id=made["session_id"], wait_id=wait_id)
            await call(client, "cancel_session", session_id=made["session_id"], reason="enough")
            await work_on(store_url)(made["session_id"])
            return await call(client, "get_session", session_id=made["session_id"]), refused

    ended, refused = asyncio.run(run())

    assert (ended["actor"], ended["phase"], ended["status"]) == ("the-operator", "ended", "unclear")
    assert "'the-operator' may not answer; ask one of ada, grace" in refused
    assert (tmp_path / "ledger").read_text() == ""


def test_questions_are_answered_and_dead_letters_replayed_over_http(api: Served, store_url: str) -> None:
    """What an agent may do for operators: answer, signal, look at what died, and send it again."""

    async def run() -> None:
        work = work_on(store_url)
        async with over_http(api.base, bearer("operator")) as client:
            asks = (await call(client, "submit_session", app="everything", skill="ask_first"))["session_id"]
            await work(asks)
            wait = (await call(client, "get_session", session_id=asks))["wait"]
            gone = await refusal(client, "answer", session_id=asks, wait_id="another", text="hi")
            await call(client, "answer", session_id=asks, wait_id=wait["wait_id"], text="hello")
            await work(asks)
            answered = await call(client, "get_session", session_id=asks)
            dead = (await call(client, "submit_session", app="everything", skill="broken"))["session_id"]
            await work(dead)
            letters = (await call(client, "list_dead_letters"))["dead_letters"]
            dry = await call(client, "replay_dead_letters", everything=True, app="everything", dry_run=True)
            await call(client, "replay_dead_letters", session_ids=[dead], note="again")
            neither = await refusal(client, "replay_dead_letters")
            await work(dead)
            await call(client, "retry_session", session_id=dead)
            apps = (await call(client, "list_apps"))["apps"]
            resource = await client.read_resource("baton://apps")

        assert "it does not wait for another any more" in gone
        assert (answered["status"], answered["state"]["answer"]) == ("fine", "hello")
        assert [one["session_id"] for one in letters] == [dead] == dry["session_ids"]
        assert neither == "replay_dead_letters: give session_ids, or everything; one of the two"
        assert [one["app"] for one in apps] == ["everything"]
        assert "folder" not in str(resource)

    asyncio.run(run())


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_offered_its_tools_and_refused_the_others(api: Served, role: str) -> None:
    """What is not offered is refused as well: a list is no lock."""

    async def run() -> tuple[set[str], dict[str, str]]:
        async with over_http(api.base, bearer(role)) as client:  # type: ignore[arg-type]
            names = {tool.name for tool in (await client.list_tools()).tools}
            others = sorted(MAY["operator"] - MAY[role])
            return names, {tool: await refusal(client, tool, session_id="x", wait_id="y") for tool in others}

    names, refused = asyncio.run(run())

    assert names == MAY[role]
    needs = {tool: wanted for wanted, tools in TABLE.items() for tool in tools}
    assert refused == {
        tool: f"tool {tool}: the-{role} lacks the role {needs[tool]}; ask an operator for it" for tool in refused
    }


def test_what_is_wrong_is_said_with_what_to_do(api: Served) -> None:
    """An agent that is told what to mend mends it; one that is told `error` tries again for ever."""

    async def run() -> list[str]:
        async with over_http(api.base, bearer("operator")) as client:
            said = [
                await refusal(client, "aprove"),
                await refusal(client, "get_session", session_id="SES-1"),
                await refusal(client, "get_session", session_id="EVERY-20261121-999"),
                await refusal(client, "submit_session", app="everythin"),
                await refusal(client, "submit_session", app="everything", state={"bogus": 1}),
                await refusal(client, "submit_session", app="everything", idempotency_key="trigger/alerts/17"),
                await refusal(client, "list_sessions", limit=0, bogus=1),
                await refusal(client, "list_sessions", cursor="?"),
                await refusal(client, "wait_for_session", session_id="EVERY-20261121-999", seconds=1e9),
            ]
            for uri in ("baton://sessions/EVERY-20261121-999", "baton://sessions/..%2F..%2Fetc", "baton://nothing"):
                with pytest.raises(MCPError) as refused:
                    await client.read_resource(uri)
                said.append(f"{refused.value.error.code} {refused.value.error.message}")
            return said

    said = asyncio.run(run())

    assert said[0] == "tool 'aprove': there is none; did you mean 'approve'?"
    assert said[1] == "session id 'SES-1': not an id; expected PREFIX-YYYYMMDD-NNN"
    assert said[2] == "session EVERY-20261121-999: not found; see `baton list`"
    assert said[3] == "app 'everythin': not loaded; did you mean 'everything'?"
    assert "bogus" in said[4]
    assert said[5] == "idempotency key 'trigger/alerts/17': keys of this form are Baton's own; use another one"
    assert said[6].startswith("tool list_sessions: invalid arguments: limit:") and "bogus" in said[6]
    assert said[7].startswith("cursor: not one of ours")
    assert "seconds" in said[8]
    assert said[9] == "-32602 session EVERY-20261121-999: not found; see `baton list`"
    assert [one.split()[0] for one in said[10:]] == ["-32602", "-32602"]


def test_the_door_of_mcp_is_the_door_of_the_api(api: Served) -> None:
    """Without a token nobody comes in, and a body has the API's limits: as problem+json, like everywhere."""
    with httpx2.Client(base_url=api.base, trust_env=False, timeout=60) as http:
        answers = [
            http.post("/mcp", json={}),
            http.post("/mcp", json={}, headers={"Authorization": "Bearer baton_wrong"}),
            http.get("/mcp", headers=bearer("viewer")),
            http.post("/mcp", content=b"x" * 1_100_000, headers=bearer("viewer")),
        ]

    assert [one.status_code for one in answers] == [401, 401, 405, 413]
    assert all(one.headers["content-type"] == "application/problem+json" for one in answers)
    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_rates_count_for_mcp(store_url: str) -> None:
    """A loop that asks for ever costs its caller, not everybody."""
    settings = api_settings(requests_per_second=0.01, requests_burst=2)
    with served(store_url, settings, mount=mount_mcp) as made, httpx2.Client(base_url=made.base, timeout=60) as http:
        codes = [http.post("/mcp", json={}, headers=bearer("viewer")).status_code for _ in range(3)]

    assert codes[2] == 429
    assert 429 not in codes[:2]


def test_baton_api_serves_mcp_and_ends_when_told(env: Mapping[str, str]) -> None:
    """As it is run: without tokens for this machine alone, and no page of another site gets in by another name."""

    async def run(base: str) -> set[str]:
        async with over_http(base) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    with api_process(env) as (child, said):
        base = said["api"]["url"]
        names = asyncio.run(run(base))
        foreign = httpx2.post(f"{base}/mcp", json={}, headers={"Host": "evil.example"}, trust_env=False, timeout=60)
        child.send_signal(signal.SIGTERM)
        code = child.wait(60)

    assert names == MAY["operator"]
    assert foreign.status_code == 403
    assert code == 0


# --- tasks


def test_a_session_is_a_task(env: Mapping[str, str], store_url: str, tmp_path: Path) -> None:
    """A client that knows tasks gets one, answers its form, and has the end as the call's own result."""
    forms: list[dict[str, Any]] = []

    def allow(form: dict[str, Any]) -> dict[str, Any]:
        forms.append(form)
        return {"action": "accept", "content": {"decision": "approve", "reason": "go"}}

    async def run() -> tuple[dict[str, Any], list[str]]:
        knows = TasksClient(allow, work_on(store_url))
        async with stdio(env, "--as", "grace", extensions=[knows]) as client:
            assert "io.modelcontextprotocol/tasks" in (client.server_capabilities.extensions or {})
            return await call(client, "submit_session", app="everything", state={"plan": "danger"}), knows.seen

    ended, seen = asyncio.run(run())

    assert (ended["phase"], ended["status"]) == ("ended", "fine")
    assert seen == ["working", "input_required", "completed"]
    assert 'hands:danger {"target":"x"}' in forms[0]["message"]
    assert forms[0]["requestedSchema"]["properties"]["decision"] == {"type": "string", "enum": ["approve", "deny"]}
    assert (tmp_path / "ledger").read_text() == "danger x\n"


@pytest.mark.parametrize(
    "response",
    [{"action": "decline"}, {"action": "accept", "content": {"decision": "perhaps"}}, {"action": "accept"}],
    ids=["declined", "unknown", "empty"],
)
def test_only_the_word_approve_approves(
    env: Mapping[str, str], store_url: str, tmp_path: Path, response: dict[str, Any]
) -> None:
    """What is not understood denies."""
    del env
    token = Token(name="grace", sha256=digest_token("baton_grace"), roles=("operator",), source="file")

    async def run(base: str) -> dict[str, Any]:
        knows = TasksClient(lambda _: response, work_on(store_url))
        async with over_http(base, {"Authorization": "Bearer baton_grace"}, extensions=[knows]) as client:
            return await call(client, "submit_session", app="everything", state={"plan": "danger"})

    with served(store_url, mount=mount_mcp, tokens=(token,)) as made:
        ended = asyncio.run(run(made.base))

    assert ended["status"] == "fine"
    assert (tmp_path / "ledger").read_text() == ""


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_an_earlier_protocol_knows_no_tasks_whatever_a_client_declares(api: Served, version: str) -> None:
    """What it cannot read would be an error, of a session that was begun and has no name for its caller."""
    declared = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}
    asked = {"name": "submit_session", "arguments": {"app": "everything"}, "_meta": declared}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
    accept = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": version}

    with httpx2.Client(timeout=60) as http:
        answer = http.post(f"{api.base}/mcp", json=request, headers={**bearer("operator"), **accept}).json()

    assert answer["result"]["structuredContent"]["created"] is True


def test_a_task_asks_nobody_who_may_not_answer(api: Served, store_url: str, tmp_path: Path) -> None:
    """For a submitter it works on; its answer is refused, its wish to cancel is heard, and a settled one acknowledges."""

    async def run() -> None:
        work = work_on(store_url)
        knows = TasksClient()
        async with over_http(api.base, bearer("submitter"), extensions=[knows]) as client:
            task = await client.session.call_tool(
                "submit_session", {"app": "everything", "state": {"plan": "danger"}}, allow_claimed=True
            )
            task_id = task.task_id  # type: ignore[union-attr]
            await work(task_id)
            waits = await ask(client.session, "tasks/get", task_id)
            with pytest.raises(MCPError) as refused:
                await ask(client.session, "tasks/update", task_id, {"any": {"action": "accept"}})
            await ask(client.session, "tasks/cancel", task_id)
            await work(task_id)
            ended = await ask(client.session, "tasks/get", task_id)
            await ask(client.session, "tasks/cancel", task_id)
            with pytest.raises(MCPError) as missing:
                await ask(client.session, "tasks/get", "EVERY-20261121-999")
        async with over_http(api.base, bearer("operator"), extensions=[TasksClient()]) as client:
            dead = await client.session.call_tool(
                "submit_session", {"app": "everything", "skill": "broken"}, allow_claimed=True
            )
            await work(dead.task_id)  # type: ignore[union-attr]
            failed = await ask(client.session, "tasks/get", dead.task_id)  # type: ignore[union-attr]
        async with over_http(api.base, bearer("operator")) as client:
            with pytest.raises(MCPError) as unknown:
                await ask(client.session, "tasks/get", task_id)

        assert (waits.status, waits.input_requests, waits.ttl_ms) == ("working", {}, None)
        assert "an approval of hands:danger" in waits.status_message
        assert "lacks the role approver" in str(refused.value)
        assert ended.status == "cancelled"
        assert (missing.value.error.code, unknown.value.error.code) == (-32602, -32021)
        assert (failed.status, failed.error["code"]) == ("failed", -32603)
        assert (tmp_path / "ledger").read_text() == ""

    asyncio.run(run())
