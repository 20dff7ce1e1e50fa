"""The peers of `bench peers`: what each is, what its step promises, and the environment that it lives in.

Every peer has an environment of its own with pinned versions, made once under the state folder; its own Python runs one
module of bench/sides. What it promises is said as its own documentation says it, for the setting that is measured.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from bench._harness import ROOT, STOP_SECONDS
from orchestrator.embedded import default_state_dir

SIDES = ROOT / "bench" / "sides"
INSTALL_SECONDS, ANSWER_SECONDS = 180, 150
REDIS = "redis==8.1.0"


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer: its packages, where it keeps what it keeps, and what a step of it promises.

    `durable`: a step that was acknowledged, and its successor, outlive the worker. `ordered`: steps of a session never run
    at once or out of turn. `once`: a step's result is written at most once, whoever else believes to own the session.
    """

    name: str
    packages: tuple[str, ...]
    keeps_in: str
    durable: str
    ordered: str
    once: str


_CHAIN = "by self-sending"
_NO_FENCE = "no: no fence"
_WORKFLOW = ("yes", "yes", "yes: by step number")
PEERS = (
    Peer("huey", ("huey==3.5.4", REDIS), "redis", "no: a dead worker's task is lost", _CHAIN, _NO_FENCE),
    Peer("dramatiq", ("dramatiq[redis]==2.2.1", REDIS), "redis", "yes: acknowledged late", _CHAIN, _NO_FENCE),
    Peer("taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4", REDIS), "redis", "yes: acknowledged", _CHAIN, _NO_FENCE),
    Peer("dbos", ("dbos==3.4.0",), "sqlite", *_WORKFLOW),
    Peer("dbos_postgres", ("dbos==3.4.0", "psycopg[binary]==3.3.9"), "postgres", *_WORKFLOW),
    Peer("dbos_postgres_lazy", ("dbos==3.4.0", "psycopg[binary]==3.3.9"), "postgres", "yes, but for the last ~0.6 s", *_WORKFLOW[1:]),
    Peer("langgraph", ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"), "sqlite", "yes; nobody takes it up", "one caller at a time", "no: two callers write two"),
    Peer("rq_simple", ("rq==2.12.0", REDIS), "redis", "kept; a dead worker's job fails", _CHAIN, _NO_FENCE),
    Peer("rq", ("rq==2.12.0", REDIS), "redis", "kept; a dead worker's job fails", _CHAIN, _NO_FENCE),
)  # fmt: skip
OURS = ("yes, but for the last ~1 s of a killed server", "yes: by a lease", "yes: by a fence")


def home_of(peer: Peer) -> Path:
    """Return where the environment of a peer lies: its name says what is in it."""
    pins = "-".join(package.replace("[", "-").replace("]", "").replace("==", "-") for package in peer.packages)
    return default_state_dir(ROOT).parent / "peers" / pins


def python_of(peer: Peer) -> Path | None:
    """Return the Python of a peer, None where it was not installed to the end."""
    home = home_of(peer)
    return home / "bin" / "python" if (home / "installed").exists() else None


def install(peer: Peer) -> str:
    """Make a peer's environment; return "" or why that cannot be done here."""
    home = home_of(peer)
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    python = str(home / "bin" / "python")
    if uv := shutil.which("uv"):
        acts = ([uv, "venv", "--quiet", "--python", sys.executable, str(home)],
                [uv, "pip", "install", "--quiet", "--python", python, *peer.packages])  # fmt: skip
    else:
        acts = ([sys.executable, "-m", "venv", str(home)],
                [python, "-m", "pip", "install", "--quiet", "--retries", "1", *peer.packages])  # fmt: skip
    for act in acts:
        try:
            subprocess.run(act, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.CalledProcessError as error:
            said = str(error.stderr).strip().splitlines()
            return f"not installed: {said[-1].strip()[:150] if said else 'its installer failed'}"
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"not installed: {type(error).__name__}"
    (home / "installed").touch()
    return ""


class Side:
    """A peer's process, which works when it is told to."""

    def __init__(self, peer: Peer, python: Path, url: str, folder: Path) -> None:
        self.peer = peer
        self._log = folder / f"{peer.name}.log"
        module = "dbos" if peer.name.startswith("dbos") else peer.name
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(python), str(SIDES / "side_main.py"), module, url, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def wait_until_up(self) -> None:
        """Wait until it has imported what it needs; raise RuntimeError where it ends instead."""
        self._answer()

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        watchdog = Timer(ANSWER_SECONDS, self._process.kill)
        watchdog.start()
        words = self._process.stdout.readline().split()
        watchdog.cancel()
        if not words:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"bench: {self.peer.name} ended early: {said[-1][:200] if said else 'it said nothing'}")
        return words

    def round(self, sessions: int, steps: int) -> float:
        """Return the steps a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{sessions} {steps}\n")
        self._process.stdin.flush()
        began, ended = map(float, self._answer()[-2:])
        return sessions * steps / (ended - began)

    def close(self) -> None:
        """End the process: it ends with its input, or is killed."""
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
