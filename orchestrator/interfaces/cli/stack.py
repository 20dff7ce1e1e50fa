"""The processes that one command starts and ends: a scheduler and workers, each a child with a log file.

A child is in a session of its own, so that Ctrl-C reaches us alone, and its standard input is our lifeline: it closes
when we end, however we end, and the child then drains and goes. Workers are ended before the scheduler.
"""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.client import Client
from orchestrator.contracts.errors import BatonError, ConfigError
from orchestrator.embedded import StoreAddress
from orchestrator.embedded_folder import rotate_log, try_lock
from orchestrator.interfaces.cli.fleet import pid_of
from orchestrator.settings import IN_FILE, Settings

#: From a child's start to its first sign of life, on a slow machine with a cold disk.
READY_SECONDS: Final = 60.0
#: Beyond a worker's own grace, until it is killed.
PATIENCE_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1
TAIL_LINES: Final = 15
CELERY_THREADS: Final = 2
UP_LOCK: Final = "up.lock"

#: The variables for one thing, the one that we set first.
_STORE_URL: Final = ("BATON_REDIS_URL", "BATON_STORE_URL")
_BROKER_URL: Final = ("BATON_BROKER_URL", "BATON_QUEUES_BROKER_URL")
_ARCHIVE_URL: Final = ("BATON_ARCHIVE_URL",)


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end us in order: Ctrl-C, a supervisor's, and a terminal that closes, unless under `nohup`."""
    hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hung_up)


class ProcessFailed(BatonError):
    """A process that was started did not live; its log says why."""


def process_command(process: str, *args: str) -> list[str]:
    """Return the command line of one of our processes."""
    # -P keeps the current folder off the import path, where somebody's own `workers` may lie.
    return [sys.executable, "-P", "-m", "workers", process, *args]


def process_environment(
    address: StoreAddress, environment: Mapping[str, str], *, archive_url: str = ""
) -> dict[str, str]:
    """Return the environment of our processes: where store and archive are goes there, an argument would be seen by all.

    What came in by a file stays there: they read it themselves, and what they start inherits no secret.
    """
    said = {_STORE_URL: address.url, _BROKER_URL: address.broker_url, _ARCHIVE_URL: archive_url}
    in_file = {names for names, value in said.items() if _read_file(environment, names) == value}
    if _STORE_URL in in_file and not any(environment.get(name) for name in _BROKER_URL):
        in_file.add(_BROKER_URL)  # said in a file of settings, or found by the store's: they do the same
    told = {names: value for names, value in said.items() if names not in in_file}
    said_otherwise = {f"{name}{end}" for names in told for name in names for end in ("", IN_FILE)}
    own = {name: value for name, value in environment.items() if name not in said_otherwise}
    return with_import_path(own | {names[0]: value for names, value in told.items()})


def _read_file(environment: Mapping[str, str], names: Sequence[str]) -> str | None:
    """Return what the file holds that one of these variables names, None where there is none."""
    for name in names:
        path = environment.get(f"{name}{IN_FILE}")
        try:
            if path is not None:
                return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):  # the settings have told of it
            continue
    return None


def with_import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which our packages are found, from a checkout too."""
    root = Path(__file__).resolve().parents[3]
    own = dict(environment)
    if root.name not in {"site-packages", "dist-packages"}:
        rest = own.get("PYTHONPATH")
        if rest is None or str(root) not in rest.split(os.pathsep):
            own["PYTHONPATH"] = f"{root}{os.pathsep}{rest}" if rest else str(root)
    return own


def worker_args(settings: Settings) -> list[str]:
    """Return a worker's arguments for every queue there is."""
    queues = settings.queues
    names = f"{queues.steps},{queues.finalize},{queues.plugins}"
    return ["--queues", names, "--pool", "threads", "--concurrency", str(CELERY_THREADS)]


@dataclass(slots=True)
class Child:
    """One process that we started."""

    name: str
    args: Sequence[str]
    log: Path
    process: "subprocess.Popen[bytes]"
    started: float = field(default_factory=time.monotonic)

    @property
    def code(self) -> int | None:
        """How it ended, None while it runs."""
        return self.process.poll()

    def tail(self) -> str:
        """Return the end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-TAIL_LINES:]) or "    (its log is empty)"


class Stack:
    """The children of one command."""

    def __init__(self, logs: Path, address: StoreAddress, settings: Settings, *, archive_url: str = "") -> None:
        self._logs = logs
        self._settings = settings
        self._environment = process_environment(address, os.environ, archive_url=archive_url)
        self.children: list[Child] = []

    def start(self, workers: int) -> None:
        """Start a scheduler and workers; they get ready by themselves."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.children.append(self._launch("scheduler", "scheduler"))
        for number in range(1, workers + 1):
            self.children.append(self._launch(f"worker-{number}", "worker", *worker_args(self._settings)))

    def restart(self, child: Child) -> Child:
        """Start a child again that has ended."""
        again = self._launch(child.name, *child.args)
        self.children[self.children.index(child)] = again
        return again

    def forget(self, child: Child) -> None:
        """Leave out a child that has ended as it should."""
        self.children.remove(child)

    def _launch(self, name: str, process: str, *args: str) -> Child:
        log = self._logs / f"{name}.log"
        rotate_log(log)
        with log.open("ab") as opened:
            started = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [*process_command(process, *args), "--lifeline"],
                stdin=subprocess.PIPE,
                stdout=opened,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return Child(name, (process, *args), log, started)

    def ended(self) -> list[Child]:
        """Return the children that do not run any more."""
        return [child for child in self.children if child.code is not None]

    async def wait_ready(self, client: Client) -> None:
        """Return once every child has told the fleet of itself; raise ProcessFailed with its log where one ended."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            for child in self.ended():
                raise ProcessFailed(
                    f"{child.name}: it ended with code {child.code}; its log {child.log}:\n{child.tail()}"
                )
            alive = {pid_of(info.name, info.pid) for info in await client.workers()}
            missing = [child for child in self.children if child.process.pid not in alive]
            if not missing:
                return
            if time.monotonic() > deadline:
                names = ", ".join(child.name for child in missing)
                first = missing[0]
                raise ProcessFailed(f"{names}: not ready after {READY_SECONDS:.0f} s; {first.log}:\n{first.tail()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self, hurry: asyncio.Event | None = None) -> list[str]:
        """End all children, workers first; return the names of those that had to be killed.

        A worker has its own grace to finish steps; `hurry`, once set, takes it away.
        """
        workers = [child for child in self.children if child.args[0] == "worker"]
        others = [child for child in self.children if child.args[0] != "worker"]
        grace = self._settings.worker.grace_seconds + PATIENCE_SECONDS
        killed = await _end(workers, grace, hurry)
        return killed + await _end(others, PATIENCE_SECONDS, hurry)


async def _end(children: Sequence[Child], seconds: float, hurry: asyncio.Event | None) -> list[str]:
    for child in children:
        if child.code is None:
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(child.code is None for child in children):
        if time.monotonic() > deadline or (hurry is not None and hurry.is_set()):
            break
        await asyncio.sleep(0.02)
    killed = [child for child in children if child.code is None]
    for child in killed:
        child.process.kill()
    for child in children:
        child.process.wait()
        if child.process.stdin is not None:
            child.process.stdin.close()
    return [child.name for child in killed]


class UpLock:
    """Held by `baton up` on its state folder. It says who holds it, and whether they started the server.

    A holder that was killed leaves its word behind: the server that it started is the next one's to stop.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / UP_LOCK
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Who only looks shares the lock for an instant; it is another `up` only where it cannot be shared.
            while (held := try_lock(self._path)) is None and _is_free(self._path):
                continue
        except OSError as error:
            raise ConfigError(
                f"up: {home}: {error.strerror}; name a folder that you may write to, with --state-dir"
            ) from error
        if held is None:
            owner = read_owner(home)
            raise ConfigError(
                f"up: {home} is in use by another `baton up`{f' (pid {owner})' if owner else ''}; "
                "stop that one with Ctrl-C or SIGTERM, or name another folder with --state-dir"
            )
        self._held = held
        self.inherits_server = bool(_read(self._path).get("owns_server"))

    def write(self, *, owns_server: bool) -> None:
        """Say who holds it."""
        body = json.dumps({"pid": os.getpid(), "owns_server": owns_server}).encode()
        os.ftruncate(self._held, 0)
        os.pwrite(self._held, body, 0)

    def release(self) -> None:
        """Let go, leaving no word behind."""
        os.ftruncate(self._held, 0)
        os.close(self._held)


def find_owner(home: Path) -> int | None:
    """Return the process that runs `baton up` on a state folder, None if there is none."""
    path = home / UP_LOCK
    return None if not path.exists() or _is_free(path) else read_owner(home)


def _is_free(path: Path) -> bool:
    """Say whether nobody holds a file's lock; who asks shares it, so that no other one who asks is in the way."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def read_owner(home: Path) -> int:
    """Return the process that the lock names, 0 for none."""
    pid = _read(home / UP_LOCK).get("pid")
    return pid if isinstance(pid, int) else 0


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except ValueError:  # half written by one who was killed
        return {}
    return found if isinstance(found, dict) else {}
