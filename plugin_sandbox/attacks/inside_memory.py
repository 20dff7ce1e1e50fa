"""Attacks on memory, the process's own and the kernel's: run inside the box. What returns has succeeded, and says how."""

import ctypes
import mmap
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from plugin_sandbox.inner import syscalls

Arena = dict[str, Any]
_MB = 2**20


def alloc_1g(arena: Arena) -> str:
    """Allocate more than the limit, and touch it."""
    return str(len(bytearray(1024 * _MB)))


def children_sum(arena: Arena) -> str:
    """Let several children use what one may not."""
    for _ in range(6):
        if os.fork() == 0:
            held = bytearray(120 * _MB)
            time.sleep(5)
            os._exit(len(held) & 1)
    time.sleep(4)
    return "720 MiB of 256"


def memfd_600(arena: Arena) -> str:
    """Use memory that belongs to no process."""
    descriptor = os.memfd_create("x")
    for _ in range(600):
        os.write(descriptor, b"x" * _MB)
    return "600 MiB"


def sysv_shm_600(arena: Arena) -> str:
    """Use a shared segment, which outlives its maker."""
    return str(syscalls.call("shmget", 0, 600 * _MB, 0o1600))


def dev_shm_600(arena: Arena) -> str:
    """Use the shared memory file system."""
    with Path("/dev/shm/x").open("wb") as file:
        file.writelines(b"x" * _MB for _ in range(600))
    return "600 MiB"


def shared_anon_600(arena: Arena) -> str:
    """Use shared anonymous memory, which a limit on data misses."""
    area = mmap.mmap(-1, 600 * _MB)
    for place in range(0, 600 * _MB, 4096):
        area[place] = 1
    return "600 MiB"


def socket_buffers(arena: Arena) -> str:
    """Use the kernel's buffers of socket pairs."""
    pairs = [socket.socketpair() for _ in range(400)]
    return f"{len(pairs)} pairs"


def pipe_buffers(arena: Arena) -> str:
    """Make a pipe's buffer large."""
    import fcntl

    reader, _ = os.pipe()
    return str(fcntl.fcntl(reader, 1031, _MB))  # F_SETPIPE_SZ


def lock_memory(arena: Arena) -> str:
    """Keep memory from being swapped."""
    area = mmap.mmap(-1, _MB)
    syscalls.call("mlock", ctypes.addressof(ctypes.c_char.from_buffer(area)), _MB)
    return "locked"


def page_tables(arena: Arena) -> str:
    """Use memory that is no memory of the process's: pages so far from each other that each needs tables of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    for number in range(20_000):
        place = libc.mmap(4 * 2**30 + number * 2**30, 4096, 3, 0x10_0022, -1, 0)  # FIXED_NOREPLACE, PRIVATE, ANONYMOUS
        if place in {None, ctypes.c_void_p(-1).value}:
            raise OSError(ctypes.get_errno(), "mmap")
        ctypes.memset(place, 1, 1)
    return "160 MiB of tables for 80 MiB of pages"


def descriptors_in_flight(arena: Arena) -> str:
    """Hold more descriptors than allowed: those on their way to nobody are not counted."""
    one, other = socket.socketpair()
    for _ in range(3):
        held = [os.eventfd(0) for _ in range(60)]
        socket.send_fds(one, [b"x"], held)
        for descriptor in held:
            os.close(descriptor)
    return f"180 of 128, on their way to {other.fileno()}"


def leave_for_the_next(arena: Arena) -> str:
    """Leave what outlives a process, for the next run of the same user: queues and semaphores of the kernel's."""
    attempts: dict[str, Callable[[], object]] = {
        "msgget": lambda: syscalls.call("msgget", 0, 0o1600),
        "semget": lambda: syscalls.call("semget", 0, 1, 0o1600),
        "mq_open": lambda: syscalls.call("mq_open", b"left", os.O_CREAT | os.O_RDWR, 0o600, None),
    }
    for name, attempt in attempts.items():
        with suppress(OSError):
            return f"{name} answered {attempt()}"
    raise PermissionError("none of them")
