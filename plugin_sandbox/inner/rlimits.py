"""Resource limits of a process: set, then read back, because a limit that was not taken is a limit that does not bind.

They are the inner ring: cgroups and the watchdog count the whole tree, these stop a single process where it stands. The
address space is limited to what the process has now and the plugin's memory on top: much of the former is shared and unused.
"""

import os
import resource
from typing import Final

from plugin_sandbox.inner.box import Box, LayerFailed

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_RLIMIT_SIGPENDING, _RLIMIT_MSGQUEUE, _RLIMIT_NICE, _RLIMIT_RTPRIO = 11, 12, 13, 14
_STACK_BYTES: Final = 8 * 2**20


def wanted(box: Box) -> dict[int, tuple[int, int]]:
    """Return soft and hard limit of each resource."""
    limits = box.limits
    own = limits.memory_bytes + _address_space_bytes()
    tasks = limits.processes + limits.threads + _others(box)
    exact = {
        resource.RLIMIT_AS: own,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NPROC: tasks,
        # Not 0: that keeps a crash from a file, and not from the program that a host may pipe dumps to, as root. One byte is for neither.
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_MEMLOCK: 0,
        _RLIMIT_SIGPENDING: 64,
        _RLIMIT_MSGQUEUE: 0,
        _RLIMIT_NICE: 0,
        _RLIMIT_RTPRIO: 0,
    }
    both = {number: (value, value) for number, value in exact.items()}
    # The monitor ends it to the moment; the kernel, which counts by ticks that may be off, ends it where the monitor does not. Soft and
    # hard are one: the first process of a pid namespace does not hear the signal of the soft one.
    backstop = limits.cpu_seconds + 1 + limits.cpu_seconds // 10
    both[resource.RLIMIT_CPU] = (backstop, backstop)
    both[resource.RLIMIT_STACK] = (_STACK_BYTES, _STACK_BYTES)
    return both


def _others(box: Box) -> int:
    """Tasks that the kernel counts with the plugin's: those of the same user in the same user namespace.

    A slot's uid is nobody else's. An ordinary user's monitor shares the namespace; without one, all that the user runs counts.
    """
    if box.uid >= 0:
        return 0
    return 1 if box.tier == "strict" else _tasks_of_user()


def _tasks_of_user() -> int:
    count, me = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == me:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it ended meanwhile
    return count - 1  # the plugin's first is among its threads


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * _PAGE


def install(box: Box) -> None:
    """Set every limit; raise LayerFailed where one is not as wanted afterwards."""
    number = -1
    try:
        for number, (soft, hard) in wanted(box).items():
            _, most = resource.getrlimit(number)
            if most == resource.RLIM_INFINITY:
                most = hard
            limit = (min(soft, most), min(hard, most))  # what we inherit may be less, and is never raised
            resource.setrlimit(number, limit)
            kept = resource.getrlimit(number)
            if kept != limit:
                raise LayerFailed("rlimits", f"limit {number} is {kept}, not {limit}")
    except (OSError, ValueError, OverflowError) as error:
        where = f"limit {number}" if number >= 0 else "the address space is not known"
        raise LayerFailed("rlimits", f"{where}: {error}") from error
