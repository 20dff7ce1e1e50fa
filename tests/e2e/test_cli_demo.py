"""`baton demo` from nothing to nothing: real commits, a real broken service, every process ended."""

import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.commands import Baton, find_processes
from tests.deploy.drills.lab import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a good commit, a bad one and a commit without code."""
    folder = tmp_path / "repo"
    folder.mkdir()
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}

    def git(*args: str) -> None:
        subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, env={**os.environ, **who})

    git("init", "-q")
    for name, text in (
        ("README.md", "# A thing\n"),
        ("bad.py", "def f(x=[]):\n    try:\n        return eval(x)\n    except:\n        pass\n"),
        ("notes.txt", "nothing\n"),
    ):
        (folder / name).write_text(text)
        git("add", name)
        git("commit", "-q", "-m", f"Add {name}")
    return folder


@pytest.fixture
def demo(baton: Baton, tmp_path: Path) -> Baton:
    """Commands that make their temporary folders below ours, with the bundled apps."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return type(baton)(baton.state_dir, {"TMPDIR": str(scratch), "BATON_APPS_PATH": "", "BATON_APPS_BUNDLED": "true"})


def wait_for_nothing(scratch: Path) -> None:
    """Return once no process works below a folder and nothing is in it: a server is watched by one that ends after it."""
    wait_until(lambda: not find_processes(str(scratch)), "every process has ended")
    wait_until(lambda: not list(scratch.iterdir()), "every folder is gone")


def test_all_apps_decide_on_real_input_and_nothing_survives(demo: Baton, repo: Path, tmp_path: Path) -> None:
    """The demo is the first thing that a user runs, and the last that may leave a mess."""
    told = demo("demo", "--yes", "--repo", str(repo), "-o", "json").json("demo")

    decided = {one["title"].split(" ", 1)[-1]: one["status"] for one in told["sessions"] if one["app"] == "code_review"}
    (incident,) = (one for one in told["sessions"] if one["app"] == "incident_management")
    assert decided == {"Add README.md": "approved", "Add bad.py": "changes_requested", "Add notes.txt": "approved"}
    (intake,) = (one for one in told["sessions"] if one["app"] == "dataset_intake")
    assert (incident["status"], incident["because"]) == ("resolved", "by rule 1: mark_resolved")
    assert "healthy again" in incident["fields"]["resolution"]
    assert (intake["status"], [entry["status"] for entry in intake["plugins"]]) == ("published", ["success"] * 5)
    assert told["kept"] is None
    wait_for_nothing(tmp_path / "scratch")


def test_without_a_terminal_and_without_yes_what_asks_is_denied(demo: Baton) -> None:
    """Silence must not let anything act; the session hands over to people instead."""
    out = demo("demo", "--app", "incident_management").out

    assert "no terminal and no --yes: what asks for an approval is denied" in out
    assert "asks for an approval: remediation:apply_fix(" in out
    assert "denied as ada (nobody could be asked: no terminal, and no --yes)" in out
    assert "1 session: 1 escalated" in out
    assert "everything was stopped" in out


def test_a_kept_demo_can_be_looked_at_later(demo: Baton, repo: Path, tmp_path: Path) -> None:
    """`--keep` leaves the sessions on disk and no process; `--state-dir` finds them."""
    told = demo("demo", "--repo", str(repo), "--app", "code_review", "--keep", "-o", "json").json("demo")
    later = type(demo)(Path(told["kept"]).parent, demo.more)
    later("redis", "start")
    try:
        listed = later("list", "-o", "json").json("sessions")
        explained = later("explain", listed[0]["session_id"]).out
    finally:
        later("redis", "stop")

    assert {one["status"] for one in listed} == {"approved", "changes_requested"}
    assert "by rule" in explained


def test_a_demo_whose_server_died_says_so_and_leaves_nothing(demo: Baton, repo: Path, tmp_path: Path) -> None:
    """Nothing can go on without it: who watches is told within seconds, not when the store's patience is over."""
    process = demo.open("demo", "--yes", "--app", "code_review", "--repo", str(repo))
    assert process.stdout is not None
    pid = next(int(found[1]) for line in process.stdout if (found := re.search(r"server \S+ \(pid (\d+)\)", line)))
    psutil.Process(pid).kill()
    _, err = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "baton: server: it ended, and the demo with it; run it again. Its log says: " in err
    wait_for_nothing(tmp_path / "scratch")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_an_ended_demo_leaves_nothing(
    demo: Baton,
    repo: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """However it ends, the server, the workers and the broken service end with it."""
    process = demo.open("demo", "--yes", "--repo", str(repo))
    assert process.stdout is not None
    for line in process.stdout:
        if "incident_management: submitted" in line:
            break
    running = [one for one in find_processes(str(tmp_path / "scratch")) if one.pid != process.pid]
    process.send_signal(number)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(running, timeout=60)

    assert len(running) >= 5
    assert alive == []
    wait_for_nothing(tmp_path / "scratch")
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]


def test_a_wrong_option_is_refused_before_anything_starts(demo: Baton, tmp_path: Path) -> None:
    """A mistyped option would otherwise be ignored by every demo in silence."""
    said = [
        demo.refuse("demo", *args, code=2)
        for args in (["--rep", "x"], ["--app", "nothing"], ["--repo", str(tmp_path / "none")])
    ]

    assert said[0] == "option --rep: no demo has it; did you mean '--repo'?"
    assert said[1].startswith("app 'nothing': not loaded")
    assert "no such folder; give the folder of a git repository" in said[2]
    assert list((tmp_path / "scratch").iterdir()) == []
