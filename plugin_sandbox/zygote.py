"""The host's end of the zygote: starts it, starts it again when it is gone, hands it calls.

May be started before a pool of workers forks: all of them then share one zygote, because nothing is read from its socket. One
that finds it gone starts one of its own. Does not know what a call means (host.py).
"""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from plugin_sandbox.inner.box import REPORT_BYTES

#: One arena: with more, threads run into the limit of address space long before they use memory.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
_HOME_OF_PACKAGE = str(Path(__file__).resolve().parent.parent)
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from plugin_sandbox.inner.zygote import start; "
    "del sys.path[0]; start(sys.argv[2:])"
)
_ASK = (
    "import json, sys, sysconfig; "
    "print(json.dumps([sys.path, sys.prefix, sys.base_prefix, sysconfig.get_config_var('LIBDIR') or '']))"
)
_ASK_SECONDS = 20
_END_SECONDS = 5


class ZygoteLost(Exception):
    """The zygote cannot be started, or does not take calls."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that plugins run under, and where its files lie."""

    executable: str
    sys_path: tuple[str, ...]
    folders: tuple[str, ...]  # what must be seen inside, beside sys_path

    @classmethod
    def ask(cls, executable: str) -> "Interpreter":
        """Start it once and let it say what it needs; raises ZygoteLost."""
        try:
            answer = subprocess.run(  # noqa: S603 - the operator names it
                [executable, "-I", "-c", _ASK], env=_ENVIRONMENT, capture_output=True, timeout=_ASK_SECONDS, check=True
            )
            path, prefix, base, libraries = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise ZygoteLost(f"{executable}: {error}; name a Python 3.11 or later as `python`") from error
        # What a .pth file adds is somebody's project, with all that lies beside the package: not shown.
        sys_path = tuple(
            entry for entry in path if Path(entry).is_dir() and entry.startswith((prefix + "/", base + "/"))
        )
        folders = [libraries, *(f"{base}/{name}" for name in ("lib", "lib64")), f"{prefix}/lib"]
        return cls(executable, sys_path, tuple(sorted({entry for entry in folders if Path(entry).is_dir()})))


class Zygote:
    """One zygote process; safe to use from several threads, and after a fork."""

    def __init__(self, executable: str, preload: tuple[str, ...]) -> None:
        self._executable, self._preload = executable, preload
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        with self._fresh_lock():
            if self._socket is None:
                self._start()

    def send(self, message: bytes, fds: list[int]) -> None:
        """Hand over a call; starts the zygote, once, if it is not there. Raises ZygoteLost."""
        check_box(message)
        with self._fresh_lock():
            for _ in range(2):
                inbox = self._socket or self._start()
                try:
                    socket.send_fds(inbox, [message], fds)
                    return
                except ConnectionError:
                    self._forget(inbox)
        raise self.explain_loss()

    def explain_loss(self) -> ZygoteLost:
        """Return what to raise where it ends again and again before it has served a call."""
        with self._fresh_lock():
            said = _last_line(self._log) if self._log else ""
        return ZygoteLost(
            f"{self._executable}: ended twice before a box was built ({said or 'no word'}); see that it runs here"
        )

    def _fresh_lock(self) -> threading.Lock:
        """The lock; a new one in a forked child, where another thread of the parent may have held it."""
        if self._owner != os.getpid():
            self._lock, self._owner = threading.Lock(), os.getpid()
            self._process = None  # the parent's child
        return self._lock

    def _start(self) -> socket.socket:
        if self._log is not None:
            self._log.close()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process, self._socket = launch(self._executable, ["warm"], list(self._preload), self._log)
        return self._socket

    def _forget(self, inbox: socket.socket) -> None:
        inbox.close()
        self._socket = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._process = None

    def close(self) -> None:
        """Let it end; calls that run are ended with it if no other process shares it."""
        with self._fresh_lock():
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            if self._process is not None:
                try:
                    self._process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
                self._process = None
            if self._log is not None:
                self._log.close()
                self._log = None


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read(65_536).decode(errors="replace").strip().rpartition("\n")[2]


def check_box(message: bytes) -> None:
    """Raise ZygoteLost for a box that no message can hold: cut short, it would describe another one."""
    if len(message) > REPORT_BYTES:
        raise ZygoteLost(f"a box of {len(message)} bytes is over {REPORT_BYTES}; bind fewer paths")


def launch(
    executable: str, mode: list[str], preload: list[str], log: IO[bytes] | int
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start an interpreter that serves calls from a socket: `warm` many, `cold` one. No preexec_fn: it would cost a fork."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator names it
            [executable, "-I", "-c", _START, _HOME_OF_PACKAGE, *mode, str(theirs.fileno()), *preload],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise ZygoteLost(f"{executable}: {error}; name a Python 3.11 or later as `python`") from error
    finally:
        theirs.close()
    return process, ours
