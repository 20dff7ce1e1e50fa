"""Sessions that this version cannot read: whoever lists is told of each of them, and why, in every face."""

import asyncio
import io
import json
from typing import Any, cast

import pytest
from rich.console import Console

from orchestrator.client import Client
from orchestrator.contracts.access import Caller, expand_roles
from orchestrator.contracts.formats import FORMAT
from orchestrator.contracts.phases import PHASES
from orchestrator.interfaces.cli import connect, watch
from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.options import Form
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.server import build_server
from orchestrator.operations import Operations
from orchestrator.search import Found, Unread
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.listing import Row
from tests.api_stage import ApiStage
from tests.console_stage import Browser, play
from tests.stage import Stage, stage

WHY = f"a newer Baton wrote it (format {FORMAT + 1}, this one reads {FORMAT}): use that one"


async def make_newer(on: Stage, session_id: str) -> None:
    """Let a session be as the next version writes it."""
    key = on.store.keys.of_session("record", session_id)
    cursor = json.loads(str(await on.store.command("HGET", key, "cursor")))
    await on.store.command("HSET", key, "cursor", json.dumps({**cursor, "mood": "fine"}), "format", FORMAT + 1)


async def set_scene(on: Stage) -> dict[str, str]:
    """Leave a readable session, and a newer one of every place in which lists look."""
    worker = on.worker()
    made = {"plain": await on.submit(), "ready": await on.submit(), "waiting": await on.submit(plan="danger")}
    made["dead"] = await on.submit()
    assert (await on.run(worker, made["waiting"])).phase == "waiting"
    await on.store.command("HSET", on.store.keys.of_session("record", made["dead"]), "cursor", "no cursor")
    await worker.run_slice(made["dead"])
    for name in ("ready", "waiting"):
        await make_newer(on, made[name])
    return made


def test_the_api_names_those_that_it_cannot_read(store_url: str) -> None:
    """In a rolling upgrade a list without them would be taken for the whole."""

    async def act(api: ApiStage, _: Browser) -> tuple[dict[str, str], dict[str, Any], Any]:
        made = await set_scene(api.on)
        paths = {
            "all": "/v1/sessions",
            "filtered": "/v1/sessions?actor=ada",
            "ready": "/v1/sessions?phase=ready",
            "approvals": "/v1/approvals",
            "dead": "/v1/dead-letters",
        }
        told = {name: (await api.call("GET", path, "viewer")).json() for name, path in paths.items()}
        return made, told, await api.call("GET", f"/v1/sessions/{made['ready']}", "viewer")

    made, told, one = play(store_url, act)

    def ids(name: str) -> set[str]:
        return {row["session_id"] for row in told[name]["unreadable"]}

    unread = {made["ready"], made["waiting"], made["dead"]}
    assert ids("all") == ids("filtered") == unread
    assert [row["session_id"] for row in told["all"]["sessions"]] == [made["plain"]]
    assert (ids("ready"), ids("approvals"), ids("dead")) == ({made["ready"]}, {made["waiting"]}, {made["dead"]})
    (row,) = told["approvals"]["unreadable"]
    assert (row["app"], row["phase"], row["since_at"] is not None) == ("everything", "waiting", True)
    assert row["detail"].endswith(WHY)
    assert (one.status_code, one.json()["type"]) == (500, "urn:baton:problem:unreadable")
    assert one.json()["detail"].endswith(WHY)
    assert "fine" not in one.text, "what does not fit is named, and what stands there is not shown"


def test_pages_with_unreadable_sessions_come_to_an_end_and_tell_each_once(store_url: str) -> None:
    """They count as rows of their page: a page stays as long as it was asked to be, however many there are."""

    async def act(api: ApiStage, _: Browser) -> tuple[list[str], list[str], list[int]]:
        made = [await api.on.submit() for _ in range(9)]
        for session_id in made[::2]:
            await make_newer(api.on, session_id)
        seen: list[str] = []
        sizes, cursor = [], ""
        while cursor is not None:
            page = (await api.call("GET", f"/v1/sessions?limit=2{cursor and '&cursor=' + cursor}", "viewer")).json()
            rows = [row["session_id"] for row in (*page["sessions"], *page["unreadable"])]
            seen, sizes, cursor = [*seen, *rows], [*sizes, len(rows)], page["next_cursor"]
        return made, seen, sizes

    made, seen, sizes = play(store_url, act)

    assert sorted(seen) == sorted(made)
    assert max(sizes) == 2


def test_the_console_names_them(store_url: str) -> None:
    """On the list, in a search, in the inbox, among the dead letters; and their own page says what to do."""

    async def act(api: ApiStage, browser: Browser) -> tuple[dict[str, str], dict[str, str]]:
        made = await set_scene(api.on)
        pages = {
            "all": "/console/sessions",
            "found": "/console/sessions?q=go+on",
            "inbox": "/console/inbox",
            "dead": "/console/dead",
        }
        told = {name: (await browser.open(path)).text for name, path in pages.items()}
        told["own"] = (await browser.open(f"/console/sessions/{made['ready']}", 500)).text
        return made, told

    made, told = play(store_url, act)

    assert "3 sessions of this list cannot be read by this version of Baton" in told["all"]
    assert all(made[name] in told["all"] and made[name] in told["found"] for name in ("ready", "waiting", "dead"))
    assert (
        f"1 session of this list cannot be read by this version of Baton. {made['waiting']} everything, waiting"
        in (told["inbox"])
    )
    assert "Nobody is asked anything." not in told["inbox"]
    assert made["dead"] in told["dead"]
    assert "There is no dead letter." not in told["dead"]
    assert WHY in told["all"]
    assert WHY in told["own"]


def test_an_agent_is_told_of_them(store_url: str) -> None:
    """MCP's lists have what the API's have; and a tool that is asked for one says why it cannot be had."""
    from fastmcp import Client as McpClient
    from fastmcp.exceptions import ToolError

    ada = Caller(name="ada", roles=expand_roles(("operator",)), way="open")

    async def run() -> tuple[dict[str, str], list[Any], str]:
        async with stage(store_url) as on:
            made = await set_scene(on)
            async with McpClient(build_server(Desk(Operations(on.client), lambda: ada))) as agent:
                names = ("list_sessions", "list_approvals", "list_dead_letters")
                told = [(await agent.call_tool(name, {})).structured_content for name in names]
                with pytest.raises(ToolError) as refused:
                    await agent.call_tool("get_session", {"session_id": made["ready"]})
            return made, told, str(refused.value)

    made, told, refused = asyncio.run(run())

    assert [{row["session_id"] for row in one["unreadable"]} for one in told] == [
        {made["ready"], made["waiting"], made["dead"]},
        {made["waiting"]},
        {made["dead"]},
    ]
    assert refused.endswith(WHY)


@pytest.mark.parametrize("verb", [["list"], ["search", "go"]])
def test_the_command_line_names_them(
    store_url: str, verb: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row each with the reason, and their number beside the table; JSON has the same rows."""

    async def scene() -> dict[str, str]:
        async with stage(store_url) as on:
            return await set_scene(on)

    made = asyncio.run(scene())
    monkeypatch.setenv("BATON_REDIS_URL", store_url)
    connect.settings.cache_clear()

    assert main([*verb]) == 0
    table = capsys.readouterr()
    assert main([*verb, "-o", "json"]) == 0
    rows = {row["session_id"]: row for row in json.loads(capsys.readouterr().out)["sessions"]}

    assert "baton: 3 sessions of these cannot be read here" in table.err
    assert all(session_id in table.out for session_id in made.values())
    assert WHY in table.out
    assert set(rows) == set(made.values())
    assert len({frozenset(row) for row in rows.values()}) == 1, "every row has the same keys"
    assert rows[made["plain"]]["unreadable"] is None
    assert (rows[made["waiting"]]["phase"], rows[made["waiting"]]["skill"]) == ("waiting", None)
    assert rows[made["waiting"]]["unreadable"].endswith(WHY)


class Enough(Exception):
    """The test has seen what it came for."""


class Watched:
    """A client whose list holds one session that cannot be read, twice; then it is enough."""

    def __init__(self) -> None:
        self.looks = 0

    async def list_sessions(self, **_: object) -> Found:
        """Return the list."""
        self.looks += 1
        if self.looks == 3:
            raise Enough
        return Found((), unread=(Unread(Row("SES-20260101-001", "sample", "asks/approval", 1), f"not so; {WHY}"),))

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return one session."""
        return {"sample": {**dict.fromkeys(PHASES, 0), "waiting": 1}}

    async def workers(self) -> list[WorkerInfo]:
        """Return one worker."""
        return [WorkerInfo(name="host:1:a")]


@pytest.mark.parametrize("form", ["table", "json"])
def test_who_watches_is_told_once(
    form: Form, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each, and none for each look."""
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0)

    with pytest.raises(Enough):
        asyncio.run(watch._watch_lines(cast("Client", Watched()), None, form))

    (line,) = capsys.readouterr().out.splitlines()
    assert WHY in line
    if form == "json":
        assert json.loads(line)["unreadable"]["phase"] == "waiting"
    else:
        assert line.startswith("SES-20260101-001  waiting, and cannot be read: not so; ")


def test_the_live_view_counts_them() -> None:
    """Beside the phases, in which the index counts them."""
    screen = io.StringIO()

    view = asyncio.run(watch._snapshot(cast("Client", Watched()), None, Console(file=screen, width=200)))
    Console(file=screen, width=200).print(view)

    assert "1 worker " in screen.getvalue()
    assert "1 waiting" in screen.getvalue()
    assert "1 cannot be read here, see `baton list`" in screen.getvalue()
