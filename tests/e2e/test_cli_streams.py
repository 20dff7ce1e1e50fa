"""What commands do where their streams are not what they hope for: full, closed, a terminal that goes away, bytes that are no text."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from orchestrator.embedded import status
from tests.commands import BATON, Baton, find_processes
from tests.deploy.drills.lab import wait_until

SECONDS = 60


def run(baton: Baton, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of shell in which $BATON stands for the command."""
    words = {"BATON": " ".join(BATON)}
    return subprocess.run(
        ["bash", "-c", line],
        env={**baton.environment, **words},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("asked", ["apps list", "apps list -o json", "show x -o json"])
def test_a_full_disk_behind_standard_output_is_told_in_a_line(baton: Baton, asked: str) -> None:
    """Whoever writes a list to a file has to learn that the half of it is missing, and not where Python noticed."""
    done = run(baton, f"$BATON {asked} > /dev/full")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "baton: standard output, or a file: No space left on device; mend that, and try again"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), (">&- 2>&-", 0), ("<&-", 0)])
def test_a_stream_that_is_closed_stops_no_command(baton: Baton, closed: str, code: int) -> None:
    """Supervisors and cron start commands without streams."""
    done = run(baton, f"$BATON apps list {closed}")

    assert (done.returncode, done.stderr) == (code, "")


def test_bytes_that_are_no_text_are_refused(baton: Baton) -> None:
    """They could be neither stored nor shown again; a shell of another encoding sends them without notice."""
    done = run(baton, "$BATON submit journey --text $'M\\xfcller'")

    assert done.returncode == 2
    assert done.stderr == "baton: argument 'M\\udcfcller': it is not UTF-8; write it so\n"


@contextmanager
def closing_terminal(*words: str, environment: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Lend a command on a terminal of its own, and the terminal's other end."""
    ours, theirs = pty.openpty()
    # Whoever started the tests under nohup ignores that a terminal closes, and so would the command.
    script = (
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *BATON, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def read_until(terminal: int, wanted: str) -> str:
    """Read what is written to a terminal until these words are in it."""
    text = ""
    while wanted not in text:
        text += os.read(terminal, 4096).decode(errors="replace")
    return text


@pytest.mark.integration
@pytest.mark.timeout(400)
def test_a_terminal_that_closes_ends_all_that_up_has_started(baton: Baton) -> None:
    """A window is closed, a connection drops: that is the end of what ran in it, as Ctrl-C would be, and of its server."""
    with closing_terminal("up", "--workers", "1", environment=baton.environment) as (process, terminal):
        read_until(terminal, "ready in")
        children = psutil.Process(process.pid).children()
        os.close(terminal)
        process.wait(timeout=SECONDS)
    gone, left = psutil.wait_procs(children, timeout=SECONDS)

    assert (len(gone), left) == (2, [])
    assert status(baton.state_dir / "server").state == "stopped"


@pytest.mark.integration
@pytest.mark.timeout(400)
def test_up_ends_in_order_when_ctrl_c_has_ended_tee_before_it(baton: Baton) -> None:
    """`baton up | tee up.log`: Ctrl-C reaches both, and the one that nobody hears any more still has workers to drain."""
    with subprocess.Popen(
        [*BATON, "up", "--workers", "1"],
        env=baton.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stdout is not None
        assert up.stderr is not None
        while "logs: " not in up.stdout.readline():  # the last that it says by itself
            assert up.poll() is None
        children = psutil.Process(up.pid).children()
        up.stdout.close()
        up.terminate()
        code, said = up.wait(timeout=SECONDS), up.stderr.read()
    worker_log = (baton.state_dir / "logs" / "worker-1.log").read_text(encoding="utf-8")

    assert (code, said) == (0, "")
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert "Traceback" not in worker_log
    assert status(baton.state_dir / "server").state == "stopped"


@pytest.mark.integration
@pytest.mark.timeout(400)
def test_a_terminal_that_closes_ends_a_demo_and_takes_its_folder_along(tmp_path: Path) -> None:
    """A demo has promised to leave nothing; the one who watches it closes the window."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**kept, "TMPDIR": str(temporary), "BATON_ACTOR": "ada"}
    with closing_terminal("demo", "--app", "code_review", environment=environment) as (process, terminal):
        read_until(terminal, "submitted")
        os.close(terminal)
        process.wait(timeout=SECONDS)
    left = psutil.wait_procs(find_processes(str(temporary)), timeout=SECONDS)[1]
    wait_until(lambda: not list(temporary.glob("baton-*")), "its folder is gone")

    assert left == []
    shutil.rmtree(temporary, ignore_errors=True)
