"""Worker and scheduler as processes, on a server that is full when they start, or gone for good when they are to end."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask
from orchestrator.installed import load_installed_apps
from orchestrator.settings import load_settings
from orchestrator.store.keys import Keys
from orchestrator.wiring import build_client
from tests.integration.api_child import COMMAND

ROOT = Path(__file__).parents[2]
KINDS = {"worker": ("worker", "--queues", "baton.steps,baton.finalize"), "scheduler": ("scheduler",)}
#: Far longer than any test waits: what is bounded by it has failed.
PATIENCE = 300
SECONDS = 120.0


def variables(server: RunningServer, **more: str) -> dict[str, str]:
    """Return the environment of a process on this server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    return {
        **kept,
        "BATON_REDIS_URL": server.url,
        "BATON_BROKER_URL": server.broker_url,
        "BATON_APPS_PATH": str(ROOT / "bench" / "apps"),
        "BATON_APPS_BUNDLED": "false",
        "BATON_STORE_PATIENCE_SECONDS": str(PATIENCE),
        "BATON_LOGGING_FORMAT": "text",
        **more,
    }


@contextmanager
def running(kind: str, log: Path, env: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process; it is killed at the end if it still lives."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", *KINDS[kind]], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return once something holds that a running process does."""
    deadline, tick = time.monotonic() + SECONDS, threading.Event()
    while not holds():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        tick.wait(0.05)  # it happens in another process


def is_up(server: RunningServer) -> bool:
    """Say whether somebody has told the fleet of itself."""
    return ask(server.socket, "ZCARD baton:workers") == b":1"


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """Lend a server of the test's own."""
    with temporary() as started:
        yield started


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_waits_for_a_server_that_is_full_and_says_so_once(
    kind: str, server: RunningServer, tmp_path: Path
) -> None:
    """Whoever makes room wants it to go on by itself; it ended with an error, or filled its log with tracebacks."""
    log = tmp_path / "log"
    ask(server.socket, "CONFIG SET maxmemory 1", seconds=60)
    with running(kind, log, variables(server)) as process:
        wait_until(lambda: log.exists() and "not started yet" in log.read_text(), process, log)
        ask(server.socket, "CONFIG SET maxmemory 0", seconds=60)
        wait_until(lambda: is_up(server), process, log)
        process.send_signal(signal.SIGTERM)

        assert process.wait(SECONDS) == 0
        lines = [line for line in log.read_text().splitlines() if "takes writes" in line]
        assert [line.partition("store: ")[2][:15] for line in lines] == ["not started yet", "it takes writes"], lines
        assert "OOM" in lines[0]
        assert "Traceback" not in log.read_text()


def test_an_api_waits_for_a_server_that_cannot_be_asked_yet(server: RunningServer, tmp_path: Path) -> None:
    """Who is started in the middle of a failover ended with an error; and it can be of use where nothing can be written."""
    log = tmp_path / "log"
    ask(server.socket, "CONFIG SET replica-serve-stale-data no", seconds=60)
    ask(server.socket, "REPLICAOF 127.0.0.1 1", seconds=60)
    with log.open("ab") as out:
        command = [*COMMAND, "api", "--port", "0", "--as", "ada"]
        process = subprocess.Popen(command, env=variables(server), stdout=out, stderr=out)
    try:
        wait_until(lambda: "not started yet" in log.read_text(), process, log)
        ask(server.socket, "REPLICAOF NO ONE", seconds=60)
        ask(server.socket, "CONFIG SET maxmemory 1", seconds=60)
        wait_until(lambda: "baton api: http" in log.read_text(), process, log)
        process.send_signal(signal.SIGTERM)

        assert process.wait(SECONDS) == 0
        lines = [line for line in log.read_text().splitlines() if "can be asked" in line]
        assert len(lines) == 2 and "MASTERDOWN" in lines[0], lines
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_with_nothing_to_hand_back_ends_without_its_server(
    kind: str, server: RunningServer, tmp_path: Path
) -> None:
    """It waited out the store's patience, once or twice, to say that it goes to a server that is gone."""
    log = tmp_path / "log"
    with running(kind, log, variables(server, BATON_WORKER_GRACE_SECONDS=str(PATIENCE))) as process:
        wait_until(lambda: is_up(server), process, log)
        os.kill(server.pid, signal.SIGKILL)

        process.send_signal(signal.SIGTERM)

        assert process.wait(SECONDS) == 0, log.read_text()


def test_a_worker_with_a_session_ends_after_its_grace_without_its_server(server: RunningServer, tmp_path: Path) -> None:
    """There is nobody to hand it back to; its lease runs out, should the server ever come back."""
    log = tmp_path / "log"
    env = variables(server, BATON_WORKER_GRACE_SECONDS="1")

    async def submit() -> str:
        settings = load_settings(env=env)
        async with AsyncExitStack() as stack:
            client = build_client(settings, server.url, load_installed_apps(settings))
            stack.push_async_callback(client.aclose)
            thinks: dict[str, JsonValue] = {"of": 9, "think_seconds": [PATIENCE, PATIENCE]}
            return (await client.submit("bench_loop", overrides=thinks, actor="ada")).session_id

    with running("scheduler", tmp_path / "other", env), running("worker", log, env) as process:
        session_id = asyncio.run(submit())
        key = Keys(load_settings(env=env).store.partitions).of_session("record", session_id)
        wait_until(lambda: b"think" in (ask(server.socket, f"HGET {key} cursor") or b""), process, log)
        os.kill(server.pid, signal.SIGKILL)

        process.send_signal(signal.SIGTERM)

        assert process.wait(SECONDS) == 0, log.read_text()
