"""Where the API meets others: sessions in the archive, what is mounted beside it, credentials that end meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.archive import Archive
from orchestrator.archive_views import ArchivedViews
from orchestrator.archiver import Archiver
from orchestrator.interfaces.http.app import build_app
from orchestrator.operations import Query
from orchestrator.settings_model import ArchiveSettings
from tests.api_stage import ApiStage, api_settings, api_stage, play
from tests.stage import stage

pytestmark = pytest.mark.usefixtures("ledger")


def test_archived_sessions_are_listed_and_read_as_before(store_url: str, tmp_path: Path) -> None:
    """A page does not say where a session lies, and none is left out or told twice where the two meet."""

    async def walk(api: ApiStage, query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = (await api.call("GET", f"/v1/sessions?limit=2{query}{cursor}", "viewer")).json()
            found += [one["session_id"] for one in page["sessions"]]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def play() -> Any:
        async with api_stage(store_url) as api:
            made = [await api.on.submit(plan="look", answer="ok") for _ in range(5)]
            for session_id in made[:4]:
                await api.on.run(api.on.worker(), session_id)
            archive = Archive(api.on.store, f"sqlite:///{tmp_path / 'archive.db'}")
            api.on.client.archive = archive
            api.on.client.views = ArchivedViews(api.on.store, archive)
            archiver = Archiver(api.on.store, archive, ArchiveSettings(retention_hours=0))
            assert (await archiver.run_once("ada", limit=3)).archived == 3
            last = (await api.on.client.show(made[0])).seq
            answers = [
                await api.call("GET", f"/v1/sessions/{made[0]}{rest}", "viewer", headers={"Last-Event-ID": str(last)})
                for rest in ("", "/journal", "/events")
            ]
            lists = [await walk(api, query) for query in ("", "&phase=ended", "&phase=ended&status=fine")]
            lists.append(await walk(api, "&phase=ready"))
            await archive.aclose()
            return made, answers, lists

    made, answers, lists = asyncio.run(play())

    assert [one.status_code for one in answers] == [200, 200, 204]
    assert answers[1].json()["entries"][0]["seq"] == 1
    assert sorted(lists[0]) == sorted(made)
    assert sorted(lists[1]) == sorted(lists[2]) == sorted(made[:4])
    assert lists[3] == made[4:]


def test_what_asks_a_person_stands_in_the_inbox_alone(store_url: str) -> None:
    """It is in the index twice, and in no list but the inbox twice over."""

    async def play() -> Any:
        async with api_stage(store_url) as api:
            asks, waits = await api.on.submit(plan="danger"), await api.on.submit("until")
            for session_id in (asks, waits):
                await api.on.run(api.on.worker(), session_id)
            inbox = (await api.call("GET", "/v1/approvals", "viewer")).json()["approvals"]
            every = (await api.call("GET", "/v1/sessions", "viewer")).json()["sessions"]
            operations = api.app.state.parts.operations
            page = await operations.page(Query(bucket="asks/approval"))
            return asks, waits, inbox, every, await operations.groups(), await operations.asking(), page

    asks, waits, inbox, every, groups, asking, page = asyncio.run(play())

    assert [one["session_id"] for one in inbox] == [asks]
    assert sorted(one["session_id"] for one in every) == sorted([asks, waits])
    assert sum(one.count for one in groups) == 2
    assert [(one.bucket, one.count) for one in asking] == [("asks/approval", 1)]
    assert [one.session_id for one in page.records] == [asks]


def test_a_stream_ends_with_its_token(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may no longer look is not told what happens from now on."""
    monkeypatch.setattr("orchestrator.interfaces.http.streams.BELIEVED_SECONDS", 0.0)
    monkeypatch.setattr("orchestrator.interfaces.http.streams.SILENT_SECONDS", 0.05)

    async def play() -> tuple[str, int]:
        async with api_stage(store_url) as api:
            operations = api.app.state.parts.operations
            secret, _ = await operations.make_token("ci", ["viewer"], actor="ada")
            session_id = await api.on.submit()
            headers = {"Authorization": f"Bearer {secret}"}
            path = f"/v1/sessions/{session_id}/events"
            stream = asyncio.create_task(api.call("GET", path, None, headers=headers))
            while not api.app.state.parts.hub.streams:  # noqa: ASYNC110 - the loop only lets the stream begin
                await asyncio.sleep(0)
            await operations.revoke_token("ci", actor="ada")
            async with asyncio.timeout(60):
                told = (await stream).text
            return told, api.app.state.parts.hub.streams

    told, left = asyncio.run(play())

    assert "event: end" not in told
    assert left == 0


def test_a_refused_method_is_told_every_method_of_the_path(store_url: str) -> None:
    """A path may have several routes; a client that reads Allow must learn of all of them."""

    async def play() -> str:
        async with api_stage(store_url) as api:
            return str((await api.call("DELETE", "/v1/sessions")).headers["allow"])

    assert asyncio.run(play()) == "GET, POST"


def test_what_is_mounted_beside_runs_as_long_as_the_application(store_url: str) -> None:
    """The seam for pages and other protocols: entered before the first request, left after the last one."""
    seen: list[str] = []

    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    async def play() -> list[str]:
        async with stage(store_url) as on:
            app = build_app(on.client, api_settings(), open_actor="ada", env={}, endpoints=(), tokens=())
            app.state.parts.beside.append(beside)
            async with app.router.lifespan_context(app):
                return list(seen)

    assert asyncio.run(play()) == ["in"]
    assert seen == ["in", "out"]


@pytest.mark.parametrize(
    ("written", "advice"), [("99", "a newer Baton wrote it (format 99, "), ("1", "restore a backup")]
)
def test_what_a_newer_baton_wrote_is_told_as_that_whatever_is_asked_of_it(
    store_url: str, written: str, advice: str
) -> None:
    """Nothing is damaged, so nobody restores anything: an API of the newer version reads it. What is damaged is told as that."""

    async def act(api: ApiStage) -> list[tuple[str, int, str, str]]:
        session_id = await api.on.submit()
        keys, command = api.on.store.keys, api.on.store.command
        seq = (await api.on.client.show(session_id)).seq + 1
        odd = '{"kind":"step","actor":"w","mood":"fine"}'
        await command("XADD", keys.of_session("journal", session_id), f"{seq}-0", "t", 1, "e", odd)
        await command("RPUSH", keys.of_session("context", session_id), '{"role":"user","content":"hi","mood":"fine"}')
        await command("HSET", keys.of_session("record", session_id), "seq", seq, "format", written)
        found = []
        for part in ("journal", "context"):
            said = await api.call("GET", f"/v1/sessions/{session_id}/{part}", "viewer")
            found.append((said.headers["content-type"], said.status_code, said.json()["type"], said.json()["detail"]))
        return found

    for kind, status, problem, detail in play(store_url, act):
        assert (kind, status, problem) == ("application/problem+json", 500, "urn:baton:problem:unreadable")
        assert advice in detail
        assert ("restore a backup" in detail) == (written == "1")
