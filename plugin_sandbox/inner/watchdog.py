"""Adds up what a whole tree of processes uses, where no control group does: memory, CPU seconds, processes, a copy's size.

Sampling: between two looks a tree can overshoot by what its cores touch in that time. It reads /proc through a descriptor that
was opened before the host's tree went out of view, and walks from the plugin's first process down, which is complete: in a
pid namespace every orphan becomes that process's child.
"""

import os
import time
from dataclasses import dataclass, field

from plugin_sandbox.inner.box import Bit, Box, LayerFailed
from plugin_sandbox.inner.cgroups import Groups

INTERVAL_SECONDS = 0.025
_SHORTEST_SECONDS = 0.005
_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED, as the kernel makes a clock's number of a process's
_PAGE = os.sysconf("SC_PAGESIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_MOST_PROCESSES = 4096
_MOST_ENTRIES = 1_000_000


@dataclass
class Watch:
    """What one call has used so far, and which of its limits bit."""

    box: Box
    groups: Groups
    proc: int  # descriptor of the host's /proc
    first: int  # the plugin's first process, as the host numbers it
    copy: int = -1  # standard tier: descriptor of the private copy, whose size is looked at
    peak_bytes: int = 0
    most_processes: int = 0  # beside the first one
    _copy_start: tuple[int, int] = (0, 0)
    _cpu: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What the copy holds before the plugin starts is not its doing."""
        if self.copy >= 0:
            self._copy_start = measure(self.copy, most=_MOST_ENTRIES)

    def interval_seconds(self) -> float | None:
        """How long until the next look; None: what the kernel enforces needs no look."""
        if self.copy < 0 and self.box.limits.processes == 0:
            # The moment at which it can have used up its processor at the earliest, on all cores.
            left = (self.box.limits.cpu_seconds - self._own_cpu_seconds()) / (os.cpu_count() or 1)
            return None if "watchdog" in self.box.off else max(_SHORTEST_SECONDS, left)
        if self.copy < 0 and "watchdog" in self.box.off and not self.groups.folders:
            return None
        return INTERVAL_SECONDS

    def look(self) -> Bit | None:
        """Take a sample; return the limit that the tree is over."""
        if self.copy >= 0 and self._is_copy_over():
            return "disk"
        if self.box.limits.processes == 0:
            is_over = "watchdog" not in self.box.off and self._own_cpu_seconds() >= self.box.limits.cpu_seconds
            return "cpu" if is_over else None
        if self.groups.oom_kills():
            return "memory"
        if "watchdog" not in self.box.off:
            self._sample()
        if self.most_processes > self.box.limits.processes:
            return "processes"
        if not self.groups.has("memory") and self.peak_bytes > self.box.limits.memory_bytes:
            return "memory"
        if self.cpu_seconds() > self.box.limits.cpu_seconds:
            return "cpu"
        return None

    def cpu_seconds(self) -> float:
        """What the tree used, as far as it was seen."""
        return self.groups.cpu_seconds() if self.groups.has("cpu") else sum(self._cpu.values())

    def _own_cpu_seconds(self) -> float:
        """What the first process has used, by its own clock: exact, where the kernel's limit counts ticks."""
        try:
            return time.clock_gettime(~self.first << 3 | _CLOCK_OF_PROCESS)
        except OSError:
            return 0.0  # it has ended meanwhile

    def _sample(self) -> None:
        resident, alive = 0, []
        waiting, seen = [self.first], 0
        while waiting and seen < _MOST_PROCESSES:
            pid = waiting.pop()
            seen += 1
            try:
                resident += int(self._read(f"{pid}/statm").split()[1]) * _PAGE
                fields = self._read(f"{pid}/stat").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    alive.append(pid)
                self._cpu[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
                for task in self._tasks(pid):
                    waiting.extend(int(child) for child in self._read(f"{pid}/task/{task}/children").split())
            except (OSError, IndexError, ValueError):
                continue  # it ended while we looked
        self.most_processes = max(self.most_processes, len(alive) - 1)
        if resident > self.box.limits.memory_bytes:
            resident = self._proportional(alive, resident)
        self.peak_bytes = max(self.peak_bytes, resident)

    def _proportional(self, pids: list[int], resident: int) -> int:
        """The exact sum, which is slow to read: pages that the processes share count once."""
        total = 0
        for pid in pids:
            try:
                text = self._read(f"{pid}/smaps_rollup")
                total += next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
            except (OSError, StopIteration):
                return resident  # not ours to read: the sum that counts shared pages for each process binds
        return total

    def _tasks(self, pid: int) -> list[str]:
        folder = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.proc)
        try:
            return os.listdir(folder)
        finally:
            os.close(folder)

    def _read(self, path: str) -> str:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        try:
            return os.read(descriptor, 65536).decode(errors="replace")
        finally:
            os.close(descriptor)

    def _is_copy_over(self) -> bool:
        size, count = measure(self.copy, most=_MOST_ENTRIES)
        size, count = size - self._copy_start[0], count - self._copy_start[1]
        return size > self.box.limits.disk_bytes or count > self.box.limits.inodes


def check(proc: int) -> None:
    """See that the kernel tells what the watchdog adds up; raises LayerFailed: what cannot be counted would never be too much."""
    me = os.getpid()
    try:
        for name in ("statm", "stat", f"task/{me}/children"):
            os.close(os.open(f"{me}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc))
    except OSError as error:
        raise LayerFailed("watchdog", f"/proc/{me}/{name}: {error.strerror}; processes cannot be counted") from error


def measure(folder: int, *, most: int) -> tuple[int, int]:
    """Return the bytes on disk and the number of entries below a directory; follows no link, stops after `most` entries."""
    size = count = 0
    waiting = [os.dup(folder)]
    try:
        while waiting and count < most:
            current = waiting.pop()
            try:
                with os.scandir(current) as entries:
                    for entry in entries:
                        count += 1
                        try:
                            shape = entry.stat(follow_symlinks=False)
                            size += shape.st_blocks * 512
                            if entry.is_dir(follow_symlinks=False) and len(waiting) < 256:
                                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                                waiting.append(os.open(entry.name, flags, dir_fd=current))
                        except OSError:
                            continue  # it went away, or is not ours to read
                        if count >= most:
                            break
            finally:
                os.close(current)
    finally:
        for descriptor in waiting:
            os.close(descriptor)
    return size, count
