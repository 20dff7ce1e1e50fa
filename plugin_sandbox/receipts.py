"""What was published under a run's name: kept for some days, so that a run that is asked for again is not done twice.

A receipt is part of the publishing's intent: whoever finishes an interrupted publishing writes it, before the intent goes. So
a caller that died between the publishing and its own note of it asks again, and is told what came of it.
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
    path = _path(state, run)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    if next(_writes) % _EVERY == 0:
        _forget_old(path.parent)


def _path(state: Path, run: str) -> Path:
    return state / "receipts" / hashlib.sha256(run.encode()).hexdigest()[:40]


def _forget_old(folder: Path) -> None:
    eldest = time.time() - _SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_mtime < eldest:
                    Path(entry.path).unlink()
            except FileNotFoundError:
                continue  # another process was quicker
