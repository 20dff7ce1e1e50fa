"""Plugin passes through the command line and real processes: a plugin asks, a person answers by fields, a worker dies."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.commands import ROOT, Baton, run_up

pytestmark = [pytest.mark.integration]

WORKSHOP = ROOT / "tests" / "apps" / "workshop"


@pytest.fixture
def workshop(tmp_path: Path) -> Baton:
    """Lend commands for the workshop, with a sandbox whose state goes with the test."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "sandbox.yaml").write_text(f"sandbox:\n  state_dir: {tmp_path / 'sandbox'}\n")
    more = {"BATON_APPS_PATH": str(WORKSHOP), "BATON_CONFIG_DIR": str(config), "BATON_LEASE_SECONDS": "5"}
    return Baton(tmp_path / "state", {**more, "BATON_LEASE_RENEW_SECONDS": "0.5"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lend a workspace with one file."""
    made = tmp_path / "work"
    made.mkdir()
    (made / "a.txt").write_text("one\n")
    return made


def wait_for_event(baton: Baton, session_id: str, mark: str, *, count: int = 1) -> None:
    """Return once so many of the session's journal entries have this text."""
    watching = baton.open("watch", session_id, "-o", "json")
    assert watching.stdout is not None
    while count:
        line = watching.stdout.readline()
        assert line, f"{session_id} came to its end without {mark}"
        count -= mark in line
    watching.terminate()
    watching.communicate(timeout=60)


def test_a_plugins_question_is_shown_and_answered_by_fields(workshop: Baton, folder: Path) -> None:
    """The command that `show` gives is the one that answers; what does not fit is refused and nothing is lost."""
    where = ["--set", f"folder={folder}", "--wait", "-o", "json"]
    with run_up(workshop, "--workers", "1"):
        submitted = workshop("submit", "workshop", "--skill", "question", *where, code=4).json("submission")
        session_id = submitted["session_id"]
        shown = workshop("show", session_id).out
        refusal = workshop.refuse("answer", session_id, "--field", "unit=km", code=2)
        workshop("answer", session_id, "--field", "unit=mm")
        wait_for_event(workshop, session_id, '"asks"', count=2)
        again = workshop("show", session_id, "-o", "json").json("session")
        workshop("answer", session_id, "--field", "rows=7", "--field", "note=about right")
        workshop("watch", session_id, "-o", "json")
        ended = workshop("show", session_id, "-o", "json").json("session")

    assert "unit (one of mm, in)" in shown
    assert f"baton answer {session_id} --field unit=CHOICE" in shown
    assert "'km' does not fit; give one of mm, in" in refusal
    assert [field["id"] for field in again["wait"]["fields"]] == ["rows", "note"]
    assert [entry["status"] for entry in ended["state"]["entries"]] == ["success", "success", "success"]
    assert ended["state"]["went"] == "well"


def test_a_worker_that_is_killed_while_a_plugin_runs_leaves_nothing_half(workshop: Baton, folder: Path) -> None:
    """Another worker runs that one plugin again; what ended before is not done twice."""
    workshop("redis", "start")
    processes = [workshop.open("scheduler"), workshop.open("worker")]
    try:
        submitted = workshop("submit", "workshop", "--skill", "slow", "--set", f"folder={folder}", "-o", "json")
        session_id = submitted.json("submission")["session_id"]
        wait_for_event(workshop, session_id, '"append"')
        os.kill(processes[1].pid, signal.SIGKILL)
        before = (folder / "a.txt").read_text()
        processes.append(workshop.open("worker"))
        workshop("watch", session_id, "-o", "json")
        ended = workshop("show", session_id, "-o", "json").json("session")
    finally:
        for process in processes[::-1]:
            process.terminate()
            process.communicate(timeout=60)
        workshop("redis", "stop")

    assert before == "one\nhello\n"
    assert [entry["status"] for entry in ended["state"]["entries"]] == ["success", "success", "success"]
    assert (folder / "a.txt").read_text() == "waiting"


def test_plugins_are_listed_checked_and_made(workshop: Baton, tmp_path: Path) -> None:
    """What a worker would refuse is told before one starts."""
    listed = workshop("plugins", "list", "-o", "json").json("plugins")
    made = workshop("plugins", "new", "tidy", "--path", str(tmp_path / "mine" / "tidy"), "-o", "json").json("created")
    checked = workshop("plugins", "check", made["folder"]).out
    (tmp_path / "mine" / "other").mkdir()
    (tmp_path / "mine" / "other" / "manifest.yml").write_text("name: tidy\nversion: '1'\nnames: x\n")
    refused = workshop("plugins", "check", str(tmp_path / "mine"), code=1).out

    assert [(one["plugin"], one["of"], one["ok"]) for one in listed][:2] == [
        ("append", "workshop", True),
        ("ask", "workshop", True),
    ]
    assert checked.startswith("tidy 0.1: ok")
    assert "manifest.yml: missing required field 'supported_extensions'" in refused
    workshop.refuse("plugins", "check", str(tmp_path / "sandbox-less"), code=2)
    workshop.refuse("plugins", "new", "../x", code=2)
