"""A backup of the embedded server's data: taken while it runs, put back where it does not.

A snapshot is the server's own (BGSAVE): what it held at one moment, whatever is written meanwhile. It is put back as the
base of an append-only file, for a server that keeps one reads nothing else: a snapshot that only lies beside would be
ignored, and the store be empty.

Nothing is deleted: what a folder holds is moved aside first. A marker stands from before the first move until `finish`; whoever
does not restore uses no server while it is there, so that a process that dies in between leaves no empty store behind, and none
whose sessions do again what they did after the backup before a person has said so.
"""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.embedded_folder import RESTORING, claim_folder, locked, socket_path
from orchestrator.embedded_watch import is_alive
from orchestrator.embedded_wire import ask

#: The first bytes of a snapshot, by who wrote it; its version follows.
_MAGIC: Final = (b"REDIS", b"VALKEY")
_SNAPSHOT: Final = "dump.rdb"
_BASE, _MANIFEST = "appendonly.aof.1.base.rdb", "appendonly.aof.manifest"
#: The server forks once for each backup, and writes all it has: no longer than that.
SNAPSHOT_SECONDS: Final = 3_600.0
_TURN_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.02


def take_snapshot(state_dir: Path, target: Path) -> None:
    """Write what the server on a folder holds now to the file `target`; raise StoreUnreachable where none runs, or it cannot."""
    home = claim_folder(state_dir)
    with locked(home / "backup.lock", SNAPSHOT_SECONDS):
        _save(home)
        write_durably(home / "data" / _SNAPSHOT, target)
        (home / "data" / _SNAPSHOT).unlink()


def check_snapshot(source: Path) -> None:
    """Raise ConfigError for a file that is no snapshot of a server; whether it is whole, only a server can say."""
    with source.open("rb") as opened:
        if not opened.read(8).startswith(_MAGIC):
            raise ConfigError(f"{source}: it is no snapshot of a server; name the folder that `baton backup make` made")


def is_unfinished(state_dir: Path) -> bool:
    """Say whether a backup was being put back before, and its end is missing: what lies there is nobody's to use."""
    return (claim_folder(state_dir) / RESTORING).exists()


def put_back(state_dir: Path, source: Path) -> Path | None:
    """Let a folder hold what a snapshot holds; return where its data of before went, None where it had none.

    Raise ConfigError while a server runs there. The server is not started, and until `finish` only by whoever restores.
    """
    home = claim_folder(state_dir)
    with locked(home / "start.lock", _TURN_SECONDS):
        if is_alive(home):
            raise ConfigError(
                f"{home}: its server runs; stop it first (`baton redis stop`, or the `baton up` that uses it)"
            )
        ready = home / "data.restored"
        shutil.rmtree(ready, ignore_errors=True)
        (ready / "appendonlydir").mkdir(parents=True)
        write_durably(source, ready / "appendonlydir" / _BASE)
        manifest = ready / "appendonlydir" / _MANIFEST
        manifest.write_text(f"file {_BASE} seq 1 type b\n", encoding="ascii")
        _sync(manifest, ready / "appendonlydir", ready)
        (home / RESTORING).touch(mode=0o600)
        _sync(home)
        aside = move_aside(home / "data")
        ready.rename(home / "data")
        _sync(home)
    return aside


def finish(state_dir: Path) -> None:
    """Let anybody use what was put back."""
    home = claim_folder(state_dir)
    (home / RESTORING).unlink(missing_ok=True)
    _sync(home)


def take_back(state_dir: Path, aside: Path | None, *, was_unfinished: bool) -> None:
    """Undo `put_back` with what it returned, where no server could read the snapshot; what `is_unfinished` said before it, it says again."""
    home = claim_folder(state_dir)
    with locked(home / "start.lock", _TURN_SECONDS):
        (home / RESTORING).touch(mode=0o600)
        shutil.rmtree(home / "data")
        if aside is not None:
            aside.rename(home / "data")
        _sync(home)
        if not was_unfinished:
            (home / RESTORING).unlink()


def move_aside(path: Path) -> Path | None:
    """Give a file or folder a name with the time beside its own one, and return that; None where there is nothing."""
    if not path.exists():
        return None
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    names = (path.with_name(f"{path.name}.before-{stamp}{f'-{number}' if number else ''}") for number in range(1_000))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    return aside


def write_durably(source: Path, target: Path) -> None:
    """Copy a file, for its owner alone, and return once it is on the disk."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as read, open(descriptor, "wb") as written:  # noqa: PTH123 - a descriptor
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())
    _sync(target.parent)


def _save(home: Path) -> None:
    """Let the server write a snapshot, behind whatever else it writes to its disk just then."""
    deadline, is_begun, refusals = time.monotonic() + SNAPSHOT_SECONDS, False, 0
    while time.monotonic() < deadline:
        info = _ask_persistence(home)
        if info.get("rdb_bgsave_in_progress") != "0" or (not is_begun and info.get("aof_rewrite_in_progress") != "0"):
            time.sleep(_PAUSE_SECONDS)
            continue
        if is_begun:
            if info.get("rdb_last_bgsave_status") != "ok":
                raise StoreUnreachable(f"{home}: the server could not write a snapshot; see {home / 'server.log'}")
            return
        said = ask(socket_path(home), "BGSAVE", seconds=10.0) or b"no answer"
        is_begun, refusals = said.startswith(b"+"), refusals + 1
        if not is_begun and refusals > 1:  # the first time it may have begun to write its log anew since we looked
            raise StoreUnreachable(f"{home}: the server writes no snapshot: {said.decode(errors='replace')}")
    raise StoreUnreachable(f"{home}: the server has written no snapshot for an hour; see {home / 'server.log'}")


def _ask_persistence(home: Path) -> dict[str, str]:
    said = ask(socket_path(home), "INFO persistence", seconds=10.0)
    if said is None:
        raise StoreUnreachable(f"{home}: no server answers there; start it with `baton redis start`, or `baton up`")
    return {name: value for name, _, value in (line.partition(":") for line in said.decode().splitlines())}


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
