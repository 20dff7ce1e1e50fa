"""The filter of system calls: a closed list, with rules about arguments, installed last.

Another ABI than the machine's own kills the process (x32 among them); a number above the table answers ENOSYS, a denied one
EPERM. `clone3` answers ENOSYS, because its flags lie in memory where a filter cannot look; the C library then uses `clone`.
The program is assembled by ranges of numbers; the kernel keeps the answers that depend on no argument in a bitmap of its own.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Box, LayerFailed
from plugin_sandbox.inner.syscall_table import ABSENT, ALLOWED, NUMBERS

_ARCHES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT: Final = 0x4000_0000

_ALLOW: Final = 0x7FFF_0000
_KILL: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000

_LOAD, _EQUAL, _ABOVE, _FROM, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06

#: clone: every CLONE_NEW*, and CLONE_PARENT, which would make a sibling outside of our tree.
_CLONE_DENIED: Final = 0x7E02_0000 | 0x8000
_CLONE_THREAD: Final = 0x1_0000
_AF_UNIX: Final = 1
_TERMINAL: Final = (0x5412, 0x541C, 0x5423)  # TIOCSTI, TIOCLINUX, TIOCSETD
_FCNTL_DENIED: Final = (1024, 1026, 1031)  # F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ
#: GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ, GET_TID_ADDRESS, GET_NO_NEW_PRIVS, SET_VMA
_PRCTL_ALLOWED: Final = (3, 15, 16, 21, 23, 40, 39, 0x5356_4D41)

Program = list[tuple[int, int, int, int]]


def _do(code: int, value: int, yes: int = 0, no: int = 0) -> tuple[int, int, int, int]:
    return (code, yes, no, value)


def _low(argument: int) -> tuple[int, int, int, int]:
    return _do(_LOAD, 16 + 8 * argument)


_REFUSE: Final = _do(_RETURN, _ERRNO | errno.EPERM)
_PERMIT: Final = _do(_RETURN, _ALLOW)


def _only(argument: int, values: tuple[int, ...]) -> Program:
    """Permit where the argument is one of these."""
    checks = [_do(_EQUAL, value, len(values) - place) for place, value in enumerate(values)]
    return [_low(argument), *checks, _REFUSE, _PERMIT]


def _never(argument: int, values: tuple[int, ...]) -> Program:
    """Refuse where the argument is one of these."""
    checks = [_do(_EQUAL, value, len(values) - place) for place, value in enumerate(values)]
    return [_low(argument), *checks, _PERMIT, _REFUSE]


def _clone(*, threads_only: bool) -> Program:
    checks = [_low(0), _do(_ANY_BIT, _CLONE_DENIED, 0, 1), _REFUSE]
    if threads_only:
        checks += [_do(_ANY_BIT, _CLONE_THREAD, 1, 0), _REFUSE]
    return [*checks, _PERMIT]


def _rules(*, forks: bool, executes: bool, unix_sockets: bool, only_pid: int) -> dict[str, Program]:
    """Return what decides about each ruled call. `only_pid`: the one process that may be signalled, 0 for the namespace's."""
    yes, no = [_PERMIT], [_REFUSE]
    signals: Callable[[], Program] = lambda: _only(0, (only_pid,)) if only_pid else yes  # noqa: E731
    return {
        "clone": _clone(threads_only=not forks),
        "fork": yes if forks else no,
        "vfork": yes if forks else no,
        "execve": yes if executes else no,
        "execveat": yes if executes else no,
        "fcntl": _never(1, _FCNTL_DENIED),
        "ioctl": _never(1, _TERMINAL),
        "kill": signals(),
        "tgkill": signals(),
        "prctl": _only(0, _PRCTL_ALLOWED),
        "prlimit64": _only(0, (0,)),
        "socket": _only(0, (_AF_UNIX,)) if unix_sockets else no,
        "socketpair": _only(0, (_AF_UNIX,)),
        "connect": yes if unix_sockets else no,
    }


@lru_cache(maxsize=16)
def assemble(machine: str, *, forks: bool, executes: bool, unix_sockets: bool, only_pid: int) -> bytes:
    """Return the filter's instructions for a machine."""
    numbers = NUMBERS[machine]
    program: Program = [_do(_LOAD, 4), _do(_EQUAL, _ARCHES[machine], 1, 0), _do(_RETURN, _KILL), _do(_LOAD, 0)]
    if machine == "x86_64":
        program += [_do(_FROM, _X32_BIT, 0, 1), _do(_RETURN, _KILL)]
    program += [_do(_ABOVE, max(numbers.values()), 0, 1), _do(_RETURN, _ERRNO | errno.ENOSYS)]
    for name in sorted(ABSENT & numbers.keys()):
        program += [_do(_EQUAL, numbers[name], 0, 1), _do(_RETURN, _ERRNO | errno.ENOSYS)]
    rules = _rules(forks=forks, executes=executes, unix_sockets=unix_sockets, only_pid=only_pid)
    for name, rule in rules.items():
        if name in numbers:
            program += [_do(_EQUAL, numbers[name], 0, len(rule)), *rule]
    allowed = sorted(numbers[name] for text in ALLOWED.values() for name in text.split() if name in numbers)
    for first, last in _ranges(allowed):
        program += [_do(_FROM, first, 0, 2), _do(_ABOVE, last, 1, 0), _PERMIT]
    program.append(_REFUSE)
    return b"".join(struct.pack("=HBBI", *one) for one in program)


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Return runs without gaps, of sorted numbers.

    >>> _ranges([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def warm() -> None:
    """Assemble what most calls need: once, in the process that all of theirs are forked from."""
    for forks in (False, True):
        for executes in (False, True):
            assemble(os.uname().machine, forks=forks, executes=executes, unix_sockets=False, only_pid=0)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def install(box: Box) -> None:
    """Install the filter on this process for good; raise LayerFailed."""
    code = assemble(
        os.uname().machine,
        forks=box.limits.processes > 0,
        executes=bool(box.programs),
        unix_sockets=bool(box.proxy),
        only_pid=0 if box.tier == "strict" and "pid_namespace" not in box.off else os.getpid(),
    )
    shape = _Filter(len(code) // 8, code)
    try:
        syscalls.call("seccomp", 1, 0, ctypes.byref(shape))  # SECCOMP_SET_MODE_FILTER
        mode = syscalls.prctl(21)  # PR_GET_SECCOMP
    except OSError as error:
        raise LayerFailed("seccomp", str(error)) from error
    if mode != 2:
        raise LayerFailed("seccomp", f"the mode is {mode} after the filter was installed, not 2")
