"""Slots: how many runs there are at once on a host, and under root which uid each of them has to itself.

A slot is a locked file in the state folder, so that all workers of a host share them. Whoever dies gives its slot back with its
files; a slot that was not given back in order is looked at before it is used again: nothing of its uid may be alive.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PAUSE_SECONDS = 0.01
_CLEAR_SECONDS = 5.0


def name_place(folder: Path, number: int) -> str:
    """Return what names a slot's belongings outside its folder: of all that have this name, one run alone is alive.

    >>> name_place(Path("/var/lib/baton/sandbox/slots"), 3)
    '33c18e00-3'
    """
    return f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}-{number}"


def open_private(path: str) -> int:
    """Open a file of the state folder, made where it is not there yet, and its folder with it; raise OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


class SlotTaken(Exception):
    """No slot became free, or processes of its last user are still alive."""


@contextlib.contextmanager
def hold_slot(folder: Path, count: int, uid_base: int | None, is_stopped: Callable[[], bool]) -> Iterator[int]:
    """Hold a free slot and yield its number; waits for one. Raises SlotTaken when stopped. uid_base: None if not root."""
    number, descriptor = _take(folder, count, is_stopped)
    try:
        if os.fstat(descriptor).st_size and uid_base is not None:
            _wait_clear(uid_base + number)
        os.pwrite(descriptor, b"busy", 0)
        yield number
        os.ftruncate(descriptor, 0)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing leaves it to whoever was forked meanwhile
        os.close(descriptor)


def _take(folder: Path, count: int, is_stopped: Callable[[], bool]) -> tuple[int, int]:
    start = os.getpid() % count  # so that many workers do not all knock at the first
    while True:
        for step in range(count):
            number = (start + step) % count
            descriptor = open_private(f"{folder}/slot-{number}")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return number, descriptor
        if is_stopped():
            raise SlotTaken(
                f"{folder}: cancelled while all {count} slots were busy; raise `slots` or run fewer at once"
            )
        time.sleep(_PAUSE_SECONDS)


def _wait_clear(uid: int) -> None:
    end = time.monotonic() + _CLEAR_SECONDS
    while _is_used(uid):
        if time.monotonic() > end:
            raise SlotTaken(f"uid {uid}: processes of an earlier run are alive; end them, they hold the slot")
        time.sleep(_PAUSE_SECONDS)


def _is_used(uid: int) -> bool:
    """Say whether a process of this uid is alive; one that ended and was not collected yet is not."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                if folder.stat().st_uid == uid and _state_of(folder) not in "ZX":
                    return True
    return False


def _state_of(folder: Path) -> str:
    return (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
