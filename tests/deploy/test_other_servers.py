"""Sentinel as the store's way to its server, RabbitMQ as broker: real ones, with `-m deploy`."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.embedded_binary import find_server
from orchestrator.interfaces.cli.stack import process_command
from tests.deploy.drills.lab import Lab, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.deploy, pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Lend a site with nothing started."""
    folder = Path(tempfile.mkdtemp(prefix="other-"))
    made = Lab(folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def start_all(lab: Lab) -> None:
    """Start scheduler and worker."""
    lab.start("scheduler", *process_command("scheduler"))
    lab.start_worker()
    lab.wait_alive("scheduler")


def start_server(lab: Lab, port: int, *more: str) -> None:
    """Start one server of the group on a port."""
    folder = lab.folder / f"server-{port}"
    folder.mkdir(exist_ok=True)
    words = ["--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--save", "", *more]
    lab.start(f"server-{port}", str(find_server().path), *words)


def test_a_failover_by_sentinel_loses_nothing(lab: Lab) -> None:
    """The primary is killed with sessions under way; its replica is promoted, and everybody follows by themselves."""
    first, second, sentinel = free_port(), free_port(), free_port()
    start_server(lab, first)
    start_server(lab, second, "--replicaof", f"127.0.0.1 {first}")
    config = lab.folder / "sentinel.conf"
    config.write_text(
        f"port {sentinel}\ndir {lab.folder}\nsentinel monitor main 127.0.0.1 {first} 1\n"
        "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 10000\n"
    )
    lab.start("sentinel", str(find_server().path), str(config), "--sentinel")
    url = f"sentinel://127.0.0.1:{sentinel},127.0.0.1:{free_port()}/main?db=0"
    lab.environment |= {"BATON_REDIS_URL": url, "BATON_STORE_PATIENCE_SECONDS": "20"}
    del lab.environment["BATON_BROKER_URL"]
    start_all(lab)
    waits = lab.submit(skill="approve")
    lab.wait_phase(waits, "waiting")
    lab.submit(seconds=1)
    wait_until(lambda: in_step(first), "the replica has everything")
    lab.end(f"server-{first}", signal.SIGKILL)
    wait_until(lambda: lab.execute(["approve", waits]).code == 0, "the new primary takes writes", seconds=60)
    lab.submit()
    lab.settle()

    assert all(process.poll() is None for process in lab.processes.values())


def in_step(port: int) -> bool:
    """Say whether the primary's replica has all that was written."""
    import redis

    with redis.Redis(port=port) as server:
        return bool(server.wait(1, 1000))


@pytest.fixture
def rabbitmq() -> Iterator[str]:
    """Start a RabbitMQ of our own; return its URL."""
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if not program.exists():
        pytest.skip("rabbitmq-server is not installed; it is in Debian's package rabbitmq-server")
    folder = Path(tempfile.mkdtemp(prefix="rabbit-"))
    port, distribution, epmd = free_port(), free_port(), free_port()
    own = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_NODENAME": "baton@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_START_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen([str(program)], env=own, stdout=out, stderr=out, cwd=folder, start_new_session=True)
    try:
        wait_until(
            lambda: "completed with" in (folder / "out").read_text(errors="replace"), "RabbitMQ is up", seconds=120
        )
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        for one in psutil.process_iter():
            try:
                if one.environ().get("ERL_EPMD_PORT") == str(epmd):
                    one.kill()
            except psutil.Error:  # it is gone, or another user's
                continue
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("quorum", ["false", "true"])
def test_sessions_run_over_rabbitmq(lab: Lab, rabbitmq: str, quorum: str) -> None:
    """Wake-ups go over another broker; the truth stays in the store. A worker that dies costs a lease, as ever."""
    lab.server.start()
    lab.environment |= {"BATON_BROKER_URL": rabbitmq, "BATON_QUEUES_QUORUM": quorum}
    start_all(lab)
    lab.submit_many(30, seconds=0.05)
    lab.submit(skill="later")
    lab.settle()
    lab.submit(seconds=1)
    lab.end("worker", signal.SIGKILL)
    lab.start_worker()
    lab.settle()
    lab.end("worker")

    assert lab.processes["scheduler"].poll() is None
