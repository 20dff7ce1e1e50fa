"""`baton up`: one a state folder, whole or not at all, and nothing of it survives."""

import json
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from orchestrator import embedded
from orchestrator.embedded import StoreAddress, status
from orchestrator.interfaces.cli import connect
from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.stack import UP_LOCK
from tests.commands import JOURNEY, Baton, run_up
from tests.deploy.drills.lab import wait_until

pytestmark = [pytest.mark.integration]


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process does anything; one that init has not collected yet does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def is_other_server(home: Path, pid: int) -> bool:
    """Say whether another server than this one answers there."""
    found = status(home).server
    return found is not None and found.pid != pid


def test_a_second_up_is_refused_and_sigterm_ends_all_of_the_first(baton: Baton) -> None:
    """Two stacks on one folder would be twice the workers by mistake; a stopped one leaves no process behind."""
    with run_up(baton, "--workers", "1") as up:
        processes = [psutil.Process(pid) for pid in up.pids]
        second = baton.refuse("up", code=1)
        stop = baton.refuse("redis", "stop", code=2)
        status = baton("redis", "status", "-o", "json").json("server")
        stopped = up.stop()
    after = baton("redis", "status", "-o", "json", code=1).json("server")

    assert f"in use by another `baton up` (pid {up.process.pid}); stop that one" in second
    assert f"`baton up` (pid {up.process.pid}) uses it" in stop
    assert (status["state"], status["pid"]) == ("running", up.said["server_pid"])
    assert stopped["killed"] == []
    assert [process for process in processes if is_alive(process)] == []
    assert after == {"state": "stopped", "url": None, "broker_url": None, "pid": None, "version": None, "folder": None}


def test_what_was_submitted_outlives_up(baton: Baton) -> None:
    """The store is on disk: the next `up` goes on where this one stopped."""
    with run_up(baton, "--workers", "1") as up:
        session_id = baton.submit("--skill", "ask_first", code=4)["session_id"]
        up.stop(signal.SIGINT)
    unreachable = baton.refuse("show", session_id, code=5)
    with run_up(baton, "--workers", "1"):
        baton("answer", session_id, "later")
        end = baton("watch", session_id, "-o", "json").lines("session")[-1]

    assert "start everything with `baton up`, or set BATON_REDIS_URL" in unreachable
    assert end["state"]["answer"] == "later"


def test_a_drained_worker_takes_nothing_and_a_dead_one_is_started_again(baton: Baton) -> None:
    """Operators take workers out one by one; accidents are mended without them."""
    with run_up(baton, "--workers", "2") as up:
        names = [one["name"] for one in baton("workers", "-o", "json").json("workers") if one["kind"] == "worker"]
        drained = baton("drain", names[0].rsplit(":", 1)[0], "--wait", "-o", "json").json("drain")
        ended = baton.submit()
        left = [one["name"] for one in baton("workers", "-o", "json").json("workers") if one["kind"] == "worker"]
        again = baton("drain", "--all", "--wait").out
        idle = baton("submit", "journey", "--wait", "--timeout", "500ms", "-o", "json", code=1).json("submission")
        up.stop()

    assert drained == {
        "workers": [names[0]],
        "waited": True,
        "still_running": [],
        "actor": "ada",
        "dry_run": False,
    }
    assert ended["status"] == "fine"
    assert left == names[1:]
    assert again == f"{names[1]}: has finished\n"
    assert idle["phase"] == "ready"


def test_a_server_that_died_is_started_again_with_all_that_was_acknowledged(baton: Baton) -> None:
    """On one machine the server is one of the processes that `up` keeps alive; workers reconnect by themselves."""
    with run_up(baton, "--workers", "1") as up:
        before = baton.submit()["session_id"]
        psutil.Process(up.said["server_pid"]).kill()
        wait_until(lambda: is_other_server(baton.state_dir / "server", up.said["server_pid"]), "another server")
        kept = baton("show", before, "-o", "json").json("session")
        after = baton.submit()
        up.stop()

    assert (kept["status"], after["status"]) == ("fine", "fine")


def test_a_killed_up_takes_its_processes_with_it(baton: Baton) -> None:
    """Its children hold a lifeline; the server keeps the data, and the next `up` takes it over and ends it."""
    with run_up(baton, "--workers", "1") as up:
        children = [psutil.Process(child["pid"]) for child in up.said["processes"]]
        up.process.kill()
        up.process.communicate()
        gone, alive = psutil.wait_procs(children, timeout=60)
    server = psutil.Process(up.said["server_pid"])
    with run_up(baton, "--workers", "1") as next_up:
        next_up.stop()
    psutil.wait_procs([server], timeout=60)

    assert (len(gone), alive) == (2, [])
    assert next_up.said["server_pid"] == up.said["server_pid"]
    assert not is_alive(server)


def test_who_is_ended_while_the_server_starts_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file takes its time to be read back: Ctrl-C ends the server that was started, and a kill leaves it to the next one."""
    home, words = tmp_path / "state", []

    def start_and_be_interrupted(*urls: str, state_dir: Path) -> StoreAddress:
        find_store(*urls, state_dir=state_dir)
        words.append(json.loads((home / UP_LOCK).read_text())["owns_server"])
        raise KeyboardInterrupt

    find_store = embedded.find_store
    monkeypatch.setattr(embedded, "find_store", start_and_be_interrupted)
    connect.settings.cache_clear()
    try:
        code = main(["--state-dir", str(home), "up"])
        state = status(home / "server").state
    finally:
        embedded.stop(home / "server")

    assert (code, state, words) == (130, "stopped", [True])


def test_up_uses_the_server_that_it_is_given_and_leaves_it(baton: Baton) -> None:
    """What somebody else started is not ours to stop."""
    url = baton("redis", "start", "-o", "json").json("server")["url"]
    other = type(baton)(baton.state_dir.parent / "other", {"BATON_REDIS_URL": url})
    try:
        with run_up(other, "--workers", "1") as up:
            ended = other.submit()
            up.stop()
        running = baton("redis", "status", "-o", "json").json("server")["state"]
    finally:
        stopped = baton("redis", "stop").out

    assert up.said["server_pid"] is None
    assert ended["status"] == "fine"
    assert (running, stopped) == ("running", "stopped\n")


def test_single_processes_find_the_store_and_end_on_sigterm(baton: Baton) -> None:
    """A supervisor starts `baton worker` and `baton scheduler` by themselves; a session runs through them."""
    baton("redis", "start")
    processes = [baton.open("scheduler"), baton.open("worker", "--queues", "steps,finalize")]
    try:
        ended = baton.submit()
    finally:
        for process in processes:
            process.terminate()
        ends = [(process.communicate(timeout=60), process.returncode)[1] for process in processes]
        baton("redis", "stop")

    assert ended["status"] == "fine"
    assert ends == [0, 0]


@pytest.mark.parametrize("command", [["list"], ["submit", "journey"], ["worker"], ["scheduler"], ["watch"], ["doctor"]])
def test_without_a_server_the_exit_code_is_5(baton: Baton, command: list[str]) -> None:
    """A script tells "try again later" from "wrong" by the code, and a person reads the remedy."""
    done = baton(*command, code=5)

    assert "start everything with `baton up`, or set BATON_REDIS_URL" in done.out + done.err


def test_an_unreachable_url_is_told_within_seconds(baton: Baton) -> None:
    """A person who waits gives up earlier than a worker would."""
    done = baton("list", "-o", "json", code=5, BATON_REDIS_URL="redis://127.0.0.1:1/0")

    assert done.json("error")["type"] == "StoreUnreachable"
    assert "is it running?" in done.err


def test_the_stub_model_server_says_where_it_is(baton: Baton) -> None:
    """Whoever starts it with port 0 reads its address from its first line."""
    process = baton.open("stub-llm", "--port", "0")
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)

    assert line.startswith("stub-llm: http://127.0.0.1:")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("steps.py:broken", "steps.py:brokn", "'steps.py:brokn': steps.py has no 'brokn'; did you mean 'broken'?"),
        ("args: {target: x}", "args: {targte: x}", "takes no argument 'targte'"),
    ],
    ids=["before Celery starts", "in the worker's loop"],
)
def test_a_worker_that_cannot_start_ends_up_with_its_log(baton: Baton, right: str, wrong: str, said: str) -> None:
    """`up` with a broken app says what the worker said, at once, and leaves nothing running."""
    app = baton.state_dir.parent / "bad"
    shutil.copytree(JOURNEY, app)
    declared = (app / "app.yaml").read_text()
    (app / "app.yaml").write_text(declared.replace(right, wrong))

    done = baton("up", "--workers", "1", "-o", "json", code=1, BATON_APPS_PATH=str(app))
    after = baton("redis", "status", "-o", "json", code=1)

    assert right in declared
    assert "worker-1: it ended with code 1" in done.err
    assert said in done.err
    (error,) = done.lines("error")
    assert (error["type"], error["exit_code"]) == ("ProcessFailed", 1)
    assert said in error["message"]
    assert json.loads(after.out)["server"]["state"] == "stopped"
