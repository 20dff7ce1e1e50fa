"""End a temporary server when its owner has gone, however it went: the owner's small companion process.

Run as `python -I -S embedded_watch.py STATE_DIR SOCKET OWNER_PID`. It waits until its stdin closes or the owner dies,
shuts the server down and removes the folder. Standard library only: it must start fast and need nothing.
It is not used for a server that keeps its data.
"""

import fcntl
import os
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

_SHUTDOWN_SECONDS = 5.0
_POLL_SECONDS = 0.5


def wait_for_owner(owner: int) -> None:
    """Return once stdin has ended or the owner is dead.

    Its children may hold the pipe's other end open after a fork, so the owner itself is watched as well.
    """
    waiting: list[int] = [0]
    pause: float | None = _POLL_SECONDS
    if hasattr(os, "pidfd_open"):
        try:
            waiting.append(os.pidfd_open(owner))
            pause = None
        except ProcessLookupError:
            return
        except OSError:  # an old kernel: look from time to time
            pause = _POLL_SECONDS
    while os.getppid() == owner:
        ready, _, _ = select.select(waiting, [], [], pause)
        if 0 in ready and os.read(0, 1):
            continue
        if ready:
            return


def is_alive(state_dir: Path) -> bool:
    """Say whether a server holds the folder's lock."""
    try:
        lock = os.open(state_dir / "alive.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        # Shared: those who only look do not take each other for a server.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def end_server(state_dir: Path, path: Path) -> None:
    """Ask the server to end; one that does not answer in time is killed."""
    deadline = time.monotonic() + _SHUTDOWN_SECONDS
    while is_alive(state_dir) and time.monotonic() < deadline:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(path))
                connection.sendall(b"SHUTDOWN NOSAVE\r\n")
                while connection.recv(4096):
                    pass
        except OSError:
            time.sleep(0.02)
    if is_alive(state_dir):
        os.kill(int((state_dir / "server.pid").read_text()), signal.SIGKILL)


def main(state_dir: Path, path: Path, owner: int) -> None:
    """Wait, end the server, clean up."""
    # What ends the owner must not end this process first.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    wait_for_owner(owner)
    try:
        end_server(state_dir, path)
    finally:
        shutil.rmtree(state_dir, ignore_errors=True)
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
