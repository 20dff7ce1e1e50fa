"""What was published under a run's name: kept for some days, so that a run that is asked for again is not done twice.

A receipt is part of the publishing's intent: written down before anything is changed, so that no full disk comes between the two,
and kept by whoever finishes the publishing, before the intent goes. So a caller that died between the publishing and its own note of
it asks again, and is told what came of it.
"""

import hashlib
import os
import time
from itertools import count
from pathlib import Path
from typing import Final

_DAYS: Final = 7
_SECONDS: Final = _DAYS * 86_400
_EVERY: Final = 256
_writes = count()


def read_receipt(state: Path, run: str) -> str | None:
    """Return what was kept of a run, None where nothing was published under its name."""
    try:
        return _path(state, run).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def keep_receipt(state: Path, run: str, body: str) -> None:
    """Keep it, on disk when this returns; now and then take away what is older than some days."""
    prepare_receipt(state, run, body)
    keep_prepared(state, run)


def prepare_receipt(state: Path, run: str, body: str) -> None:
    """Write it down, on disk when this returns, without keeping it yet; raise OSError where there is no room for it."""
    beside = _beside(state, run)
    beside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with beside.open("w", encoding="utf-8") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def keep_prepared(state: Path, run: str) -> None:
    """Keep what was prepared, which takes no room; once that is done it stays done."""
    path = _path(state, run)
    try:
        _beside(state, run).rename(path)
    except FileNotFoundError:
        return
    if next(_writes) % _EVERY == 0:
        _forget_old(path.parent)


def drop_prepared(state: Path, run: str) -> None:
    """Take away what was prepared: nothing was published under this name."""
    _beside(state, run).unlink(missing_ok=True)


def _path(state: Path, run: str) -> Path:
    return state / "receipts" / hashlib.sha256(run.encode()).hexdigest()[:40]


def _beside(state: Path, run: str) -> Path:
    """One run is published by one process at a time: under its workspace's lock."""
    return _path(state, run).with_suffix(".new")


def _forget_old(folder: Path) -> None:
    eldest = time.time() - _SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_mtime < eldest:
                    Path(entry.path).unlink()
            except FileNotFoundError:
                continue  # another process was quicker
