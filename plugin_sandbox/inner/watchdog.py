"""Adds up what a whole tree of processes uses, where no control group does: memory, CPU seconds, processes, a copy's size.

Sampling: between two looks a tree can overshoot by what its cores touch in that time. It reads /proc through a descriptor that
was opened before the host's tree went out of view, and walks from the plugin's first process down, which is complete: in a
pid namespace every orphan becomes that process's child.
"""

import os
import stat
import time
from dataclasses import dataclass, field

from plugin_sandbox.inner.box import Bit, Box, LayerFailed
from plugin_sandbox.inner.cgroups import Groups

INTERVAL_SECONDS = 0.025
_SHORTEST_SECONDS = 0.005
_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED, as the kernel makes a clock's number of a process's
_TICKS = os.sysconf("SC_CLK_TCK")
#: Pages that lie side by side need a five hundredth of themselves for their tables; each that lies alone, twice itself.
_TABLES_PART = 16
_MOST_PROCESSES = 4096
_MOST_ENTRIES = 1_000_000
_MOST_LEVELS = 256
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
    _cpu_waited: float = 0.0  # of those that are alive, with what they have waited for: children that no look has seen

    def __post_init__(self) -> None:
        """What the copy holds before the plugin starts is not its doing."""
        if self.copy >= 0:
            self._copy_start = measure(self.copy, most=_MOST_ENTRIES)

    def interval_seconds(self) -> float | None:
        """How long until the next look; None: what the kernel enforces needs no look."""
        if self.copy < 0 and self.box.limits.processes == 0:
            # The moment at which it can have used up its processor at the earliest, on all cores; its tables grow meanwhile.
            left = (self.box.limits.cpu_seconds - self._own_cpu_seconds()) / (os.cpu_count() or 1)
            return None if "watchdog" in self.box.off else max(_SHORTEST_SECONDS, min(left, INTERVAL_SECONDS))
        if self.copy < 0 and "watchdog" in self.box.off and not self.groups.folders:
            return None
        return INTERVAL_SECONDS

    def look(self) -> Bit | None:
        """Take a sample; return the limit that the tree is over."""
        if self.copy >= 0 and self._is_copy_over():
            return "disk"
        if self.box.limits.processes == 0:
            return None if "watchdog" in self.box.off else self._look_at_one()
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

    def _look_at_one(self) -> Bit | None:
        """A lone process has its memory limited by the kernel, but for the tables of pages that lie far from each other."""
        if self._own_cpu_seconds() >= self.box.limits.cpu_seconds:
            return "cpu"
        try:
            _, tables = self._memory_of(self.first)
        except OSError:
            return None  # it has ended meanwhile
        return "memory" if tables > self.box.limits.memory_bytes // _TABLES_PART else None

    def cpu_seconds(self) -> float:
        """What the tree used, as far as it was seen."""
        return self.groups.cpu_seconds() if self.groups.has("cpu") else max(sum(self._cpu.values()), self._cpu_waited)

    def _own_cpu_seconds(self) -> float:
        """What the first process has used, by its own clock: exact, where the kernel's limit counts ticks."""
        try:
            return time.clock_gettime(~self.first << 3 | _CLOCK_OF_PROCESS)
        except OSError:
            return 0.0  # it has ended meanwhile

    def _sample(self) -> None:
        resident, tables, waited, alive = 0, 0, 0.0, []
        waiting, seen = [self.first], 0
        while waiting and seen < _MOST_PROCESSES:
            pid = waiting.pop()
            seen += 1
            try:
                own, own_tables = self._memory_of(pid)
                resident, tables = resident + own, tables + own_tables
                fields = self._read(f"{pid}/stat").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    alive.append(pid)
                self._cpu[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
                waited += self._cpu[pid] + (int(fields[13]) + int(fields[14])) / _TICKS
                for task in self._tasks(pid):
                    waiting.extend(int(child) for child in self._read(f"{pid}/task/{task}/children").split())
            except (OSError, IndexError, ValueError):
                continue  # it ended while we looked
        self.most_processes = max(self.most_processes, len(alive) - 1)
        self._cpu_waited = max(self._cpu_waited, waited)
        if resident + tables > self.box.limits.memory_bytes:
            resident = self._proportional(alive, resident)
        self.peak_bytes = max(self.peak_bytes, resident + tables)

    def _memory_of(self, pid: int) -> tuple[int, int]:
        """Return the bytes of a process that are in memory, and those of the tables that lead to them."""
        found = {"VmRSS": 0, "VmPTE": 0}  # one that has ended has neither
        for line in self._read(f"{pid}/status").splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024
        return found["VmRSS"], found["VmPTE"]

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
        for name in ("status", "stat", f"task/{me}/children"):
            os.close(os.open(f"{me}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc))
    except OSError as error:
        raise LayerFailed("watchdog", f"/proc/{me}/{name}: {error.strerror}; processes cannot be counted") from error


def measure(folder: int, *, most: int) -> tuple[int, int]:
    """Return the bytes on disk and the number of entries below a directory; follows no link, stops after `most` entries.

    A descriptor a level is held, however many folders there are; who nests them deeper than anybody has a use for has too many.
    """
    size = count = 0
    # Directories on the way down, each with those in it that are still to be looked at.
    levels: list[tuple[int, list[str]]] = [(os.dup(folder), ["."])]
    try:
        while levels and count < most:
            above, names = levels[-1]
            if not names:
                os.close(levels.pop()[0])
                continue
            try:
                here = os.open(names.pop(), _OPEN_FOLDER, dir_fd=above)
            except OSError:
                continue  # it went away, or is not ours to read
            if len(levels) == _MOST_LEVELS:
                os.close(here)
                return size, most
            inside: list[str] = []
            levels.append((here, inside))
            with os.scandir(here) as entries:
                for entry in entries:
                    count += 1
                    try:
                        shape = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # it went away
                    size += shape.st_blocks * 512
                    if stat.S_ISDIR(shape.st_mode):
                        inside.append(entry.name)
                    if count >= most:
                        break
    finally:
        for descriptor, _ in levels:
            os.close(descriptor)
    return size, count
