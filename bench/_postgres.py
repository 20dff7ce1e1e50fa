"""A PostgreSQL of a bench's own, in a folder of its own and over a Unix socket alone, where one is installed.

A server refuses to run as root: then it runs as the system's user `postgres`.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

UP_SECONDS = 30.0


@contextmanager
def postgres() -> Iterator[str | None]:
    """Lend the URL of a server's database `bench`, None where none can be had; its defaults, which write each commit to disk."""
    programs = {name: shutil.which(name) for name in ("initdb", "postgres", "createdb")}
    user = "postgres" if os.geteuid() == 0 else None
    if None in programs.values():
        yield None
        return
    with TemporaryDirectory(prefix="baton-pg-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, log = Path(folder) / "data", Path(folder) / "log"
        start = [str(programs["initdb"]), "-D", str(data), "-U", "bench", "-A", "trust", "--no-sync"]
        done = subprocess.run(start, user=user, capture_output=True, check=False, cwd=folder)
        if done.returncode:
            yield None
            return
        with log.open("wb") as said:
            command = [str(programs["postgres"]), "-D", str(data), "-k", folder, "-c", "listen_addresses="]
            server = subprocess.Popen(command, user=user, stdout=said, stderr=said, cwd=folder)
        try:
            up = _make(str(programs["createdb"]), folder, "bench", server) and _make(
                str(programs["createdb"]), folder, "bench_lazy", server
            )
            yield f"postgresql://bench@/bench?host={quote(folder, safe='')}" if up else None
        finally:
            server.terminate()
            try:
                server.wait(UP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def lazy(url: str) -> str:
    """Return the URL of the other database, whose commits are acknowledged before they are on disk."""
    return url.replace("/bench?", "/bench_lazy?") + "&options=" + quote("-c synchronous_commit=off")


def _make(createdb: str, folder: str, name: str, server: "subprocess.Popen[bytes]") -> bool:
    """Make a database as soon as the server answers; say whether it did."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        done = subprocess.run(
            [createdb, "-h", folder, "-U", "bench", name], capture_output=True, check=False, cwd=folder
        )
        if done.returncode == 0:
            return True
        time.sleep(0.1)
    return False
