"""What a process uses, by its id: processor time and memory.

On Linux the scheduler's own nanoseconds and the proportional set size, in which a page that two
processes share counts half for each; elsewhere what psutil knows.
"""

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: resident, and proportional where the system tells."""

    rss: int
    pss: int | None


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process's threads have used so far."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return sum(read_schedstat(path.read_text()) for path in tasks.glob("*/schedstat"))


def read_schedstat(text: str) -> float:
    """Return the seconds on a processor that a thread's schedstat tells.

    >>> read_schedstat("1500000000 20 3")
    1.5
    """
    return int(text.split(maxsplit=1)[0]) / 1e9


def memory(pid: int) -> Memory:
    """Return what a process holds."""
    rss = int(psutil.Process(pid).memory_info().rss)
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    try:
        return Memory(rss, read_pss(rollup.read_text()))
    except OSError:  # another system, or a kernel without it
        return Memory(rss, None)


def read_pss(text: str) -> int | None:
    """Return the bytes that a smaps_rollup tells, or None where it does not.

    >>> read_pss("Rss:  10 kB\\nPss:   4 kB\\n")
    4096
    """
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None
