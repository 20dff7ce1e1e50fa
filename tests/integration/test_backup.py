"""What docs/how-to/backup.md says of servers that keep an append-only file, tried with one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.embedded_binary import bundled_path, find_server
from orchestrator.embedded_wire import ask
from tests.deploy.drills.lab import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]


@contextmanager
def server(folder: Path, *words: str) -> Iterator[Path]:
    """Lend the socket of a server on a folder; it is shut down afterwards."""
    socket = folder / "s"
    settings = ("--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--loglevel", "warning")
    with subprocess.Popen([str(find_server().path), *settings, *words], cwd=folder) as process:
        try:
            wait_until(lambda: (ask(socket, "PING") or b"").startswith(b"+PONG"), "the server answers")
            yield socket
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Lend a folder with a snapshot that holds one key."""
    (tmp_path / "r").mkdir()
    with server(tmp_path / "r", "--appendonly", "no", "--dbfilename", "store.rdb") as socket:
        ask(socket, "SET kept yes", seconds=60)
        ask(socket, "SAVE", seconds=60)
    return tmp_path / "r"


def test_a_server_with_an_append_only_file_reads_no_snapshot(snapshot: Path) -> None:
    """The trap: it starts, and is empty."""
    with server(snapshot, "--appendonly", "yes", "--dbfilename", "store.rdb") as socket:
        assert ask(socket, "EXISTS kept", seconds=60) == b":0"


def test_a_snapshot_is_taken_over_into_an_append_only_file(snapshot: Path) -> None:
    """The way that the page tells: read without, switched on, and there at the next ordinary start."""
    with server(snapshot, "--appendonly", "no", "--dbfilename", "store.rdb") as socket:
        ask(socket, "CONFIG SET appendonly yes", seconds=60)
        wait_until(lambda: b"aof_rewrite_in_progress:0" in (ask(socket, "INFO persistence") or b""), "it is written")
    (snapshot / "store.rdb").unlink()

    with server(snapshot, "--appendonly", "yes") as socket:
        assert ask(socket, "EXISTS kept", seconds=60) == b":1"
