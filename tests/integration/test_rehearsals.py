"""Recorded sessions gone through with another version of their app: where would it do something else?"""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError
from orchestrator.embedded import RunningServer
from orchestrator.embedded_wire import ask
from orchestrator.interfaces.cli.rehearsals import read_recording, rehearse
from tests.stage import EVERYTHING, Stage, stage
from workers import rehearsal

PLANS: list[JsonObject] = [
    {"plan": "look"},
    {"plan": "put"},
    {"plan": "danger"},
    {"plan": "unknown_tool"},
    {"plan": "gate"},
    {"entry_skill": "plain_tool", "plan": 3},
    {"entry_skill": "sum", "total": 4},
    {"entry_skill": "ask_first"},
    {"entry_skill": "until"},
    {"entry_skill": "pick", "plan": "two"},
    {"entry_skill": "fan", "items": ["a", "b"]},
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file in which the app's tools note what they did."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("rehearsals") / "ledger"
        patch.setenv("EVERYTHING_LEDGER", str(path))
        yield path


@pytest.fixture(scope="module")
def recordings(temporary_server: RunningServer, ledger: Path) -> list[JsonObject]:
    """Sessions of every kind, as they were recorded once."""
    assert ask(temporary_server.socket, "FLUSHALL", seconds=60) == b"+OK"

    async def record(on: Stage) -> list[JsonObject]:
        executor, found = on.worker(), []
        for plan in PLANS:
            session_id = await on.submit(**plan)  # type: ignore[arg-type]
            for _ in range(6):
                record = await on.run(executor, session_id)
                wait = record.wait
                if record.phase != "waiting" or wait is None:
                    break
                match wait.kind:
                    case "approval":
                        await on.client.decide(session_id, allow=True, actor="ada")
                    case "input":
                        await on.client.answer(session_id, actor="ada", text="go on")
                    case "signal":
                        await on.client.signal(session_id, "go", actor="ada")
                    case "child":
                        for child in wait.children:
                            await on.run(executor, child)
            assert record.phase == "ended", (plan, record)
            found.append(await read_recording(on.client, session_id))
        return found

    async def go() -> list[JsonObject]:
        async with stage(temporary_server.url) as on:
            return await record(on)

    return asyncio.run(go())


def other_version(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """Return a copy of the app's folder with these words of app.yaml replaced."""
    folder = tmp_path / "everything"
    shutil.copytree(EVERYTHING, folder)
    text = (folder / "app.yaml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "app.yaml").write_text(text)
    return folder


def test_the_same_version_does_the_same(recordings: list[JsonObject], ledger: Path) -> None:
    """Otherwise every report would have to be read with a pinch of salt; and nothing acts a second time."""
    done = ledger.read_text()

    reports = rehearse(EVERYTHING, recordings)

    assert [report["differences"] for report in reports] == [[] for _ in PLANS]
    assert all(int(str(report["steps"])) > 0 for report in reports)
    assert ledger.read_text() == done


@pytest.mark.parametrize(
    ("change", "number", "told"),
    [
        (("policy: {danger: high, put: medium}", "policy: {put: high}"), 1, {"cursor.calls"}),
        (("policy: {danger: high, put: medium}", "policy: {put: high}"), 2, {"cursor.calls"}),
        (("status: fine, extract_fields", "status: unclear, extract_fields"), 0, {"status"}),
        (("routes: [{when: one, next: last}, {when: default, next: __end__}]", "routes: [{when: default, next: __end__}]"), 6, {"goes to"}),
        (("What now?", "What then?"), 7, {"wait.prompt"}),
        (("into: seen, op: append", "into: total, op: set"), 0, {"state.seen", "state.total"}),
        (("approvers: [ada, grace]", "approvers: [grace]"), 2, {"wait.roster"}),
        (("escalation_teams: [night, day]", "escalation_teams: [night]"), 4, {"wait.teams"}),
        (("for_each: items, item_key: item, into: ends", "for_each: items, item_key: item, into: ends, join: any"), 10, {"wait.join"}),
        (("steps.py:double", "steps.py:broken"), 6, {"fails"}),
    ],
    ids=["risk up", "risk down", "status", "route", "prompt", "update", "roster", "teams", "join", "code"],
)  # fmt: skip
def test_what_would_be_otherwise_is_told(
    recordings: list[JsonObject], tmp_path: Path, change: tuple[str, str], number: int, told: set[str]
) -> None:
    """Entry, step and both values, for whoever has to decide whether a version may go out."""
    (report,) = asyncio.run(rehearsal.rehearse(other_version(tmp_path, change), [recordings[number]]))
    differences = report["differences"]

    assert isinstance(differences, list)
    assert told <= {str(one["what"]) for one in differences if isinstance(one, dict)}


def test_an_app_that_is_another_one_is_refused(recordings: list[JsonObject], tmp_path: Path) -> None:
    """A recording under foreign rules would differ everywhere, and mean nothing."""
    folder = other_version(tmp_path, ("name: everything", "name: nothing"))

    with pytest.raises(ConfigError, match="it is one of everything, not of nothing"):
        rehearse(folder, recordings[:1])
