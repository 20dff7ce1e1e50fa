"""A small site for drills: a real server, scheduler and workers, each a process that a fault can be done to, and its operator.

Commands run in this process, through the same entry as `baton`; the site's own processes are ended by pid.
"""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orchestrator.embedded_binary import find_server
from orchestrator.embedded_wire import ask
from orchestrator.interfaces.cli import connect
from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.runbook_play import Printed
from orchestrator.interfaces.cli.stack import process_command, with_import_path
from tests.ports import free_port

HERE = Path(__file__).parent
SECONDS = 180.0
ALL_QUEUES = "baton.steps,baton.finalize,baton.plugins"
STEPS = "baton.steps,baton.finalize"

#: A site where a death is noticed in seconds.
QUICK = {
    "BATON_STORE_PARTITIONS": "8",
    "BATON_STORE_PATIENCE_SECONDS": "4",
    "BATON_LEASE_SECONDS": "2",
    "BATON_LEASE_RENEW_SECONDS": "0.5",
    # A machine that holds a worker up for a lease costs its sessions an attempt, beside those that a drill takes.
    "BATON_LEASE_MAX_ATTEMPTS": "4",
    "BATON_LANES_PER_PROCESS": "8",
    "BATON_SCHEDULER_TICK_SECONDS": "0.1",
    "BATON_SCHEDULER_IDLE_TICK_SECONDS": "0.2",
    "BATON_SCHEDULER_RESEND_SECONDS": "0.5",
    "BATON_SCHEDULER_LEADER_SECONDS": "1",
    "BATON_RETRY_BASE_SECONDS": "0.2",
    "BATON_RETRY_MAX_SECONDS": "0.5",
    "BATON_WORKER_HEARTBEAT_SECONDS": "0.5",
    "BATON_WORKER_GRACE_SECONDS": "3",
    "BATON_WORKER_PLUGIN_SLOTS": "2",
    "BATON_ARCHIVE_EVERY_SECONDS": "1",
    "BATON_ARCHIVE_RETENTION_HOURS": "0",
    "BATON_APPS_BUNDLED": "false",
    "BATON_ACTOR": "ada",
    "TERM": "dumb",
}


def wait_until(what: Callable[[], Any], why: str, seconds: float = SECONDS) -> Any:
    """Return what it returns once that is true; fail with the reason."""
    deadline, tick = time.monotonic() + seconds, threading.Event()
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {why}"
        tick.wait(0.1)
    return found


class Server:
    """The store's server. Its file sizes can be limited, as a full disk would limit them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "s"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on what it has on disk."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "logfile": "server.log",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        # Python ignores SIGXFSZ; the server keeps that, so that a limit on its files is an error it gets to see.
        self.process = subprocess.Popen([str(find_server().path), *words], cwd=self.folder, restore_signals=False)
        wait_until(lambda: (self.ask("PING") or b"").startswith(b"+PONG"), "the server answers")

    def ask(self, command: str) -> bytes | None:
        """Say one command to it."""
        return ask(self.socket, command, seconds=60)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=60)


class Lab:
    """The site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apps = folder / "apps"
        shutil.copytree(HERE / "apps", self.apps)
        self.work = folder / "work"
        self.work.mkdir()
        self.server = Server(folder)
        self.model = Model()
        self.tools_port = free_port()
        self.archive = folder / "archive"
        self.archive.mkdir()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.acknowledged: list[str] = []
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ},
            **with_import_path(QUICK),
            "BATON_REDIS_URL": f"unix://{self.server.socket}?db=0",
            "BATON_BROKER_URL": f"redis+socket://{self.server.socket}?virtual_host=1",
            "BATON_STATE_DIR": str(folder / "state"),
            "BATON_ARCHIVE_URL": f"sqlite:///{self.archive / 'archive.db'}",
            "BATON_APPS_PATH": str(self.apps),
            "DRILL_FOLDER": str(self.work),
            "DRILL_MODEL_URL": self.model.url,
            "DRILL_TOOLS_URL": f"http://127.0.0.1:{self.tools_port}/mcp",
        }

    # --- faults are switched by files

    def switch(self, name: str, *, on: bool) -> None:
        """Switch a fault of the exercise on or off."""
        if on:
            (self.work / name).touch()
        else:
            (self.work / name).unlink(missing_ok=True)

    # --- processes

    def start(self, name: str, *command: str, **more: str) -> None:
        """Start a process."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment, **more},
                start_new_session=True,
            )

    def start_scheduler(self) -> None:
        """Start the scheduler, and wait until it lives."""
        self.start("scheduler", *process_command("scheduler"))
        self.wait_alive("scheduler")

    def start_worker(self, name: str = "worker", queues: str = ALL_QUEUES, **more: str) -> None:
        """Start a worker, and wait until it lives."""
        self.start(name, *self.worker_command(queues), **more)
        self.wait_alive(name)

    @staticmethod
    def worker_command(queues: str = ALL_QUEUES) -> list[str]:
        """Return what starts a worker."""
        return process_command("worker", "--queues", queues, "--concurrency", "2")

    def wait_alive(self, name: str) -> None:
        """Return once the process has told the fleet of itself."""
        process = self.processes[name]

        def look() -> bool:
            assert process.poll() is None, f"{name} ended: {(self.folder / f'{name}.log').read_text()[-3000:]}"
            return any(one["pid"] == process.pid for one in self.workers())

        wait_until(look, f"{name} is alive")

    def wait_tools(self) -> None:
        """Return once the tool server listens."""

        def look() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.tools_port)) == 0

        wait_until(look, "the tool server listens")

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a process; SIGKILL ends its children with it."""
        process = self.processes.pop(name)
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(timeout=120)

    def name_of(self, name: str) -> str:
        """Return the name by which `baton workers` knows a process."""
        pid = self.processes[name].pid
        return next(str(one["name"]) for one in self.workers() if one["pid"] == pid)

    # --- the operator

    def execute(self, words: Sequence[str]) -> Printed:
        """Run a command of Baton's."""
        out = io.StringIO()
        with environment(self.environment), redirect_stdout(out), redirect_stderr(out):
            code = main(list(words))
        return Printed(text=out.getvalue(), code=code)

    def json(self, *words: str) -> Any:
        """Run a command, and return what is below its one key."""
        done = self.execute([*words, "-o", "json"])
        assert done.text.startswith("{"), f"{words}: {done.code}: {done.text}"
        found = json.loads(done.text)
        return next(iter(found.values()))

    def workers(self) -> list[dict[str, Any]]:
        """Return who lives."""
        done = self.execute(["workers", "-o", "json"])
        return list(json.loads(done.text)["workers"]) if done.code == 0 else []

    def metric(self, name: str) -> float:
        """Return one figure."""
        return float(self.json("metrics").get(name, 0.0))

    def submit(self, app: str = "exercise", skill: str = "", **state: Any) -> str:
        """Submit a session, which must not be lost from then on."""
        words = ["submit", app, "--text", "go", "--state", json.dumps(state)]
        found = self.json(*words, *(("--skill", skill) if skill else ()))
        self.acknowledged.append(str(found["session_id"]))
        return self.acknowledged[-1]

    def submit_many(self, count: int, **state: Any) -> list[str]:
        """Submit many sessions at once."""
        path = self.folder / "many.jsonl"
        path.write_text("".join(json.dumps({"text": "go", "state": state}) + "\n" for _ in range(count)))
        ids = [str(one["session_id"]) for one in self.json("submit", "exercise", "-f", str(path))]
        self.acknowledged += ids
        return ids

    def phase(self, session_id: str) -> str:
        """Return where a session is."""
        return str(self.json("show", session_id)["phase"])

    def wait_phase(self, session_id: str, *phases: str) -> None:
        """Return once a session is there."""
        wait_until(lambda: self.phase(session_id) in phases, f"{session_id} is {' or '.join(phases)}")

    def settle(self) -> None:
        """Nothing was lost: everything that was acknowledged has come to its end."""
        for session_id in self.acknowledged:
            self.wait_phase(session_id, "ended")
        self.acknowledged.clear()

    def close(self) -> None:
        """End everything, by pid."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)
        if self.server.process is not None and self.server.process.poll() is None:
            self.server.stop(signal.SIGKILL)
        self.model.close()


class Model:
    """A model service whose moods a drill sets: the status that it answers with."""

    def __init__(self) -> None:
        self.status = 200
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._server: ThreadingHTTPServer | None = None
        self.open()

    def open(self) -> None:
        """Listen."""
        mood = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                message = {"role": "assistant", "content": "done"}
                body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
                data = json.dumps(body if mood.status == 200 else {"error": {"message": "not now"}}).encode()
                self.send_response(mood.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Let this process have a site's environment for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    connect.settings.cache_clear()
    try:
        yield
    finally:
        for name in [name for name in os.environ if name not in before]:
            del os.environ[name]
        os.environ.update(before)
        connect.settings.cache_clear()


@contextmanager
def open_lab() -> Iterator[Lab]:
    """Lend a site that runs."""
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    lab = Lab(folder)
    try:
        lab.server.start()
        lab.start("tools", sys.executable, str(HERE / "tool_server.py"), str(lab.tools_port))
        lab.start("scheduler", *process_command("scheduler"))
        lab.start_worker()
        lab.wait_alive("scheduler")
        lab.wait_tools()
        yield lab
    finally:
        lab.close()
        shutil.rmtree(folder, ignore_errors=True)
