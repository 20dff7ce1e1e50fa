"""A clock that somebody else can move: what a worker's machine says the time is, hours off and back again.

The offset in seconds lies in a file that a process maps, so that children of a fork see a jump, too. What is moved is
`time.time`, which everything that asks for the wall clock reads, in our code and in libraries. The monotonic clock cannot
jump and is left alone.
"""

import mmap
import struct
import time
from pathlib import Path

_OFFSET = struct.Struct("d")


def write_offset(path: Path, seconds: float) -> None:
    """Let every process that reads this file live so many seconds in the future, or in the past."""
    if not path.exists():
        path.write_bytes(_OFFSET.pack(seconds))
        return
    with path.open("r+b") as file:
        file.write(_OFFSET.pack(seconds))


def install(path: Path) -> None:
    """Let this process and its children take their time from the file; before anything else is imported."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    real = time.time

    def moved() -> float:
        return real() + float(_OFFSET.unpack_from(mapped)[0])

    time.time = moved
