"""Runs the command line as a user does: every command a process of its own, `baton up` a real one beside it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
JOURNEY = ROOT / "tests" / "apps" / "journey"
BATON = [sys.executable, "-P", "-m", "orchestrator.interfaces.cli.start"]
SECONDS = 120


@dataclass(frozen=True)
class Done:
    """One command that ran to its end."""

    code: int
    out: str
    err: str

    def json(self, key: str) -> Any:
        """Return what is below the one key of the one object."""
        found = json.loads(self.out)
        assert list(found) == [key]
        return found[key]

    def lines(self, key: str) -> list[Any]:
        """Return what is below that key in each line of JSON."""
        return [found[key] for found in map(json.loads, self.out.splitlines()) if key in found]


@dataclass
class Baton:
    """Runs commands with a state folder and apps of its own."""

    state_dir: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        own = {"PYTHONPATH": str(ROOT), "BATON_STATE_DIR": str(self.state_dir), "BATON_ACTOR": "ada", "TERM": "dumb"}
        return {**kept, **own, "BATON_APPS_PATH": str(JOURNEY), "BATON_APPS_BUNDLED": "false", **self.more}

    def __call__(self, *args: str, code: int = 0, stdin: str = "", **environment: str) -> Done:
        """Run one command, which must end with this code."""
        done = subprocess.run(
            [*BATON, *args],
            input=stdin,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def open(self, *args: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command that goes on."""
        return subprocess.Popen(
            [*BATON, *args], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def refuse(self, *args: str, code: int, stdin: str = "", **environment: str) -> str:
        """Run a command that must be refused; return its one line."""
        done = self(*args, code=code, stdin=stdin, **environment)
        assert done.err.startswith("baton: ")
        return done.err.removeprefix("baton: ").rstrip("\n")

    def submit(self, *args: str, code: int = 0) -> Any:
        """Submit a session of the test app, wait, and return its submission."""
        return self("submit", "journey", *args, "--wait", "-o", "json", code=code).json("submission")


@dataclass
class Up:
    """A `baton up` that is ready: what it said of itself, and how to end it."""

    process: "subprocess.Popen[str]"
    said: Any

    @property
    def pids(self) -> list[int]:
        """Every process of the stack but `up` itself."""
        return [self.said["server_pid"], *(child["pid"] for child in self.said["processes"])]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Any:
        """Send a signal; return what it said at its end."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0, out + err
        return json.loads(out.splitlines()[-1])["stopped"]


@contextmanager
def run_up(baton: Baton, *args: str) -> Iterator[Up]:
    """Lend a stack; it is stopped afterwards, if it still runs."""
    process = baton.open("up", "-o", "json", *args)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        assert '"up"' in line, process.communicate()[1]
        yield Up(process, json.loads(line)["up"])
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=SECONDS)


def find_processes(*marks: str) -> list[psutil.Process]:
    """Return every process whose command line, environment or folder has one of these texts in it."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except psutil.Error:  # it is gone, or a zombie that init has not collected yet
            continue
        if process.pid != os.getpid() and any(mark in text for mark in marks for text in texts):
            found.append(process)
    return found
