"""The embedded server's state folder: whose it is, its locks, its socket's path, its log.

A folder is ours if we made it or found it empty, and it says so by a marker. Anything else is refused rather than
filled. Starting and ending servers is the work of embedded.py.
"""

import fcntl
import fnmatch
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.embedded_watch import is_alive

#: Made before any other file; its name carries the layout's version.
MARKER = ".baton-server-1"
_MARKERS = ".baton-server-*"
#: There while a backup is put back: the data may lie aside, and a server would begin with none.
RESTORING = "restoring"
#: sun_path holds 108 bytes on Linux and 104 on macOS, one of them the end.
_SOCKET_BYTES = 100
_PAUSE_SECONDS = 0.01
_KILL_SECONDS = 10.0
_LOG_BYTES = 1_000_000
_TAIL_BYTES = 2_000


def claim_folder(state_dir: Path) -> Path:
    """Return the folder's real path, made or adopted and closed to others; raise ConfigError for one that is not ours."""
    home = state_dir.expanduser().resolve()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ours(home)
        # First a look into it, then one for the marker: where another process is just making the folder its own, the
        # marker was there before all that it put beside it.
        found = sorted(entry.name for entry in home.iterdir())
        if not (home / MARKER).exists():
            made = fnmatch.filter(found, _MARKERS)
            if made:
                raise ConfigError(f"{home}: it was made by another version of Baton ({made[0]}); choose another folder")
            if found:
                raise ConfigError(f"{home}: it holds files of something else; choose an empty folder")
            (home / MARKER).touch(mode=0o600)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{home}: it is not a folder; choose another one") from error
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror}; choose a folder that you may write to") from error
    return home


def check_whole(home: Path) -> None:
    """Raise ConfigError where a backup was being put back, and its end is missing."""
    if (home / RESTORING).exists():
        raise ConfigError(
            f"{home}: a backup was being put back, and its end is missing; run `baton backup restore` again"
        )


def socket_path(home: Path) -> Path:
    """Return where the folder's socket is: in it, or under a short path when that is too long for the system."""
    path = home / "server.sock"
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    short = Path("/tmp") / f"baton-{os.geteuid()}"  # noqa: S108 - checked to be ours and closed, below
    short.mkdir(mode=0o700, exist_ok=True)
    _check_ours(short)
    return short / f"{sha256(os.fsencode(home)).hexdigest()[:16]}.sock"


def _check_ours(folder: Path) -> None:
    """Refuse a folder that another user could have prepared, and close ours to others."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(folder)
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{folder}: it belongs to user {found.st_uid}, not to us; choose another folder")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the file's lock, or None while somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path, seconds: float, *, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold the file's lock; raise StoreUnreachable if it is not free for so long, `unless` there is a good reason."""
    began = time.monotonic()
    while True:
        now = time.monotonic()  # before the look: where this process had to wait, the lock may be free
        if (held := try_lock(path)) is not None:
            break
        if now - began > seconds:
            if not unless():
                raise StoreUnreachable(f"{path}: another process has been starting or stopping the server; try again")
            began = now
        time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        os.close(held)


def kill_server(home: Path) -> None:
    """Kill a server that does not end when asked, after a look at whether the pid is still its own."""
    import psutil

    pid_file = home / "server.pid"
    said = pid_file.read_text().strip() if pid_file.exists() else ""
    pid = int(said) if said.isascii() and said.isdigit() else 0  # a disk that was full left it empty
    try:
        words = psutil.Process(pid).cmdline() if pid else []
    except psutil.Error:  # gone, or somebody else's by now
        words = []
    if str(socket_path(home)) not in " ".join(words):
        raise StoreUnreachable(f"{home}: a process holds its lock and is not the server {pid}; end it by hand")
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _KILL_SECONDS
    while is_alive(home):
        if time.monotonic() > deadline:
            raise StoreUnreachable(f"{home}: server {pid} does not die; look at it by hand")
        time.sleep(_PAUSE_SECONDS)


def rotate_log(log: Path) -> None:
    """Keep a log that grew large as one older file."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def log_tail(log: Path) -> str:
    """Return the log's last lines."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as opened:
        opened.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return opened.read().decode(errors="replace").strip()
