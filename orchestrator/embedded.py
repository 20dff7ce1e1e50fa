"""The embedded server: one Valkey on a Unix socket, so that Baton runs on a machine where nothing is set up.

    configured URL -> the one that runs on the state folder -> a binary (embedded_binary.py) -> one clear refusal

A state folder holds the data (AOF), the socket, the log, and two locks. `alive.lock` is held by the server process
itself, through a descriptor that it inherits and never knows of: the lock says whether a server lives, whatever a
pidfile says, and no two servers ever open the same data. `start.lock` lets one starter at a time through.

The server runs in a session of its own, so that a terminal's Ctrl-C does not reach it. It outlives its starter: a
kept server is ended by `stop`, or taken over by the next `start`. A temporary one has a companion process
(embedded_watch.py) that ends it when its owner is gone. This module is no client: it speaks three words to the
server (PING, INFO, SHUTDOWN) and leaves the rest to store/.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

from orchestrator import embedded_watch
from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.embedded_binary import ServerBinary, find_server
from orchestrator.embedded_folder import (
    check_whole,
    claim_folder,
    kill_server,
    locked,
    log_tail,
    rotate_log,
    socket_path,
    try_lock,
)
from orchestrator.embedded_watch import is_alive
from orchestrator.embedded_wire import ask
from orchestrator.store.address import SCHEMES, is_sentinel, parse_server, scheme_of

__all__ = [
    "RunningServer",
    "ServerBinary",
    "ServerStatus",
    "StoreAddress",
    "broker_beside",
    "default_state_dir",
    "find_server",
    "find_store",
    "start",
    "status",
    "stop",
    "temporary",
]

Fsync: TypeAlias = Literal["always", "everysec", "no"]

STORE_DB, BROKER_DB = 0, 1
#: The bundled binary has no allocator of its own. A script allocates dozens of small pieces at once; glibc keeps seven
#: of a size at hand by default, and with more of them a commit takes a fifth less. Other systems do not read this.
MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=1000"}
#: From the start of the process to its first answer; reading back a large AOF has its own limit.
START_SECONDS = 15.0
LOADING_SECONDS = 600.0
STOP_SECONDS = 15.0
#: Until it is one's turn to start or stop it: longer than either takes. Who dies in between lets the next one in at once.
TURN_SECONDS = 60.0
_PAUSE_SECONDS = 0.01


class RunningServer(Frozen):
    """A server that answers. `url` is for the store, `broker_url` for Celery: another database of the same server.

    `is_new` tells that this very call started it.
    """

    url: str
    broker_url: str
    pid: int
    version: str
    socket: Path
    state_dir: Path
    is_new: bool = False


class ServerStatus(Frozen):
    """What is on a state folder: nothing, a server that answers, or one that lives and does not answer."""

    state: Literal["stopped", "running", "silent"]
    server: RunningServer | None = None


def default_state_dir(checkout: Path | None = None) -> Path:
    """Return `.runtime/server` of a checkout, else a folder below $XDG_STATE_HOME."""
    if checkout is not None:
        return checkout / ".runtime" / "server"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "baton" / "server"


def start(state_dir: Path, *, fsync: Fsync = "everysec", is_restoring: bool = False) -> RunningServer:
    """Return the server that runs on `state_dir`, started where there is none.

    Raise ConfigError for a folder that is not ours, a server that cannot start, or data of a backup whose restoring did not come
    to its end, unless that `is_restoring`; StoreUnreachable for a server that lives and does not answer.
    """
    home = claim_folder(state_dir)
    with locked(home / "start.lock", TURN_SECONDS, unless=lambda: _is_loading(home)):
        if not is_restoring:
            check_whole(home)
        return _find_or_launch(home, fsync)


def stop(state_dir: Path) -> bool:
    """End the server on `state_dir` and return True; False if none runs. What was acknowledged stays on disk."""
    if not state_dir.exists():
        return False
    home = claim_folder(state_dir)
    with locked(home / "start.lock", TURN_SECONDS):
        if not is_alive(home):
            return False
        deadline = time.monotonic() + STOP_SECONDS
        ask(socket_path(home), "SHUTDOWN", seconds=STOP_SECONDS)
        while is_alive(home) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        if is_alive(home):
            kill_server(home)
    return True


def status(state_dir: Path) -> ServerStatus:
    """Say what is on `state_dir`, without waiting."""
    if not state_dir.exists():
        return ServerStatus(state="stopped")
    home = claim_folder(state_dir)
    server = _describe(home, is_new=False)
    if server is not None:
        return ServerStatus(state="running", server=server)
    return ServerStatus(state="silent" if is_alive(home) else "stopped")


class StoreAddress(Frozen):
    """Where the store and the broker are, and the embedded server behind them, where there is one."""

    url: str
    broker_url: str
    server: RunningServer | None = None


def find_store(url: str, broker_url: str, *, state_dir: Path) -> StoreAddress:
    """Return the store: the configured one, else the embedded one, started if need be; "" is not configured."""
    if url:
        return StoreAddress(url=url, broker_url=broker_url or broker_beside(url))
    server = start(state_dir)
    return StoreAddress(url=server.url, broker_url=broker_url or server.broker_url, server=server)


def broker_beside(url: str) -> str:
    """Return Celery's URL for the next database of the same server: emptying one never touches the other.

    >>> broker_beside("redis://:pw@host:6379/2"), broker_beside("unix:///run/s.sock?db=0")
    ('redis://:pw@host:6379/3', 'redis+socket:///run/s.sock?virtual_host=1')
    >>> broker_beside("sentinel://a:26379,b:26379/main?db=0")
    'sentinel://a:26379,b:26379/main?db=1'
    """
    scheme, rest = scheme_of(url), url.partition("://")[2]
    if scheme not in SCHEMES:
        parse_server(url)  # refuses it, and says what may have been meant
    if "cluster" in scheme:
        raise ConfigError(
            f"store URL {scheme}://…: a cluster carries no queues of Celery; set BATON_BROKER_URL to another server"
        )
    place, _, asked = rest.partition("?")
    query = dict(parse_qsl(asked))
    in_path = scheme in {"redis", "rediss"}
    host, _, path = place.partition("/") if in_path else (place, "", "")
    named = query.pop("db", "") or path.strip("/") or "0"
    if not (in_path or scheme == "unix" or is_sentinel(url)) or not (named.isascii() and named.isdigit()):
        raise ConfigError(f"store URL {scheme or '?'}://…: its broker cannot be guessed; set BATON_BROKER_URL")
    database = str(int(named) + 1)
    if in_path:
        return f"{scheme}://{host}/{database}{'?' if query else ''}{urlencode(query)}"
    query["virtual_host" if scheme == "unix" else "db"] = database
    return f"{'redis+socket' if scheme == 'unix' else scheme}://{place}?{urlencode(query)}"


@contextmanager
def temporary(*, fsync: Fsync = "no") -> Iterator[RunningServer]:
    """Lend a server on a folder of its own; both are gone afterwards, also when the owner is killed."""
    home = Path(tempfile.mkdtemp(prefix="baton-")).resolve()
    script = [embedded_watch.__file__, str(home), str(socket_path(home)), str(os.getpid())]
    # The companion comes first: whatever happens from here on, somebody cleans up.
    with subprocess.Popen(  # noqa: S603 - our own interpreter, our own script
        [sys.executable, "-I", "-S", *script], stdin=subprocess.PIPE, start_new_session=True
    ) as companion:
        try:
            yield start(home, fsync=fsync)
        finally:
            # Leaving the block closes its stdin, which is its sign, and waits for it.
            if companion.poll() is not None:
                stop(home)
                shutil.rmtree(home, ignore_errors=True)


def _find_or_launch(home: Path, fsync: Fsync) -> RunningServer:
    """Return the folder's server once it answers, launched where none lives; a large AOF may take its time to be read back."""
    launched, began = "", time.monotonic()
    heard = began
    while True:
        now = time.monotonic()  # before the look: where this process had to wait, that is not the server's silence
        held = try_lock(home / "alive.lock")
        if held is not None:
            try:
                if launched:
                    raise ConfigError(
                        f"{launched}: it ended while it started; mend what its log names, or set BATON_REDIS_URL; "
                        f"{home / 'server.log'}:\n{log_tail(home / 'server.log') or '(it is empty: is the disk full?)'}"
                    )
                launched = _launch(home, fsync, held)
            finally:
                os.close(held)  # from here on the server's own copy holds the lock, or nobody's if it has died
            began = heard = time.monotonic()
            continue
        server = _describe(home, is_new=bool(launched))
        if server is not None:
            return server
        if _is_loading(home):
            heard = time.monotonic()
        if now - heard > START_SECONDS or now - began > LOADING_SECONDS:
            raise StoreUnreachable(_tell_silence(home, launched))
        time.sleep(_PAUSE_SECONDS)


def _tell_silence(home: Path, launched: str) -> str:
    """Return what is wrong with a server that lives and does not answer, and what to do."""
    if launched:
        return f"{launched}: it does not answer in time; see {home / 'server.log'}"
    return f"{home}: its server lives and does not answer; end the process in {home / 'server.pid'} and try again"


def _is_loading(home: Path) -> bool:
    """Say whether a server that answers is reading its data back."""
    return (ask(socket_path(home), "PING") or b"").startswith(b"-LOADING")


def _launch(home: Path, fsync: Fsync, held: int) -> str:
    """Start a server that inherits the lock; return which one, for messages."""
    binary = find_server()
    rotate_log(home / "server.log")
    data = home / "data"
    data.mkdir(exist_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(socket_path(home)),
        "unixsocketperm": "700",
        "dir": str(data),
        "pidfile": str(home / "server.pid"),
        "logfile": str(home / "server.log"),
        "loglevel": "warning",
        "daemonize": "yes",
        "appendonly": "yes",
        "appendfsync": fsync,
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    command = [str(binary.path), *(word for name, value in settings.items() for word in (f"--{name}", value))]
    # Nothing of our environment goes along: it may hold secrets, and a process shows its own.
    started = subprocess.run(  # noqa: S603 - a binary that find_server chose
        command,
        pass_fds=[held],
        cwd=home,
        env={"PATH": os.defpath, **MALLOC},
        capture_output=True,
        text=True,
        check=False,
        # Python ignores SIGXFSZ, and so does the server then: a limit on its files is an error that it sees, and not its end.
        restore_signals=False,
    )
    name = f"embedded server {binary.path} {binary.version}"
    if started.returncode != 0:
        said = (started.stderr or started.stdout).strip() or log_tail(home / "server.log")
        raise ConfigError(f"{name}: it refuses to start; it says: {said[-2000:]}")
    return name


def _describe(home: Path, *, is_new: bool) -> RunningServer | None:
    """Return the server that answers on a folder's socket, or None."""
    path = socket_path(home)
    if not (ask(path, "PING") or b"").startswith(b"+PONG"):
        return None
    rows = (line.partition(":") for line in (ask(path, "INFO server") or b"").decode().splitlines())
    info = {name: value for name, _, value in rows}
    if not info.get("process_id", "").isdigit():
        return None
    where = quote(str(path))
    return RunningServer(
        url=f"unix://{where}?db={STORE_DB}",
        broker_url=f"redis+socket://{where}?virtual_host={BROKER_DB}",
        pid=int(info["process_id"]),
        version=info.get("valkey_version") or info.get("redis_version", ""),
        socket=path,
        state_dir=home,
        is_new=is_new,
    )
