"""The filter of system calls: a closed list, with rules about arguments, installed last.

Another ABI than the machine's own kills the process (x32 among them); a number that the table does not know answers ENOSYS, a denied
one EPERM. `clone3` answers ENOSYS, because its flags lie in memory where a filter cannot look; the C library then uses `clone`.
Some calls succeed and do nothing: what they ask for
has no meaning in a private view, and is felt outside of it.
The program finds a number by halves; the kernel keeps the permissions that depend on no argument in a bitmap of its own.

Which calls there are, and which of them are allowed, is syscall_table.py's.
"""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from plugin_sandbox.inner import landlock, syscalls
from plugin_sandbox.inner.box import Box, LayerFailed
from plugin_sandbox.inner.syscall_table import ABSENT, ALLOWED, EMPTIED, NUMBERS, UNSUPPORTED

_ARCHES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT: Final = 0x4000_0000

_ALLOW: Final = 0x7FFF_0000
_KILL: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000

_LOAD, _AND, _GO, _EQUAL, _FROM, _ANY_BIT, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
_FARTHEST: Final = 255  # of a jump that depends on something

#: clone: every CLONE_NEW*, and CLONE_PARENT, which would make a sibling outside of our tree.
_CLONE_DENIED: Final = 0x7E02_0000 | 0x8000
_CLONE_THREAD: Final = 0x1_0000
_AF_UNIX: Final = 1
#: SOCK_STREAM, SOCK_SEQPACKET. A datagram socket, even of a pair, sends to any path that is named with the message.
_SOCKET_TYPES: Final = (1, 5)
#: SO_REUSEADDR, KEEPALIVE, LINGER, PASSCRED, RCVTIMEO, SNDTIMEO and their newer numbers; no larger buffers, no filters.
_SOCKET_OPTIONS: Final = (2, 9, 13, 16, 20, 21, 66, 67)
#: FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS, TCGETS2, TIOCGWINSZ, FIGETBSZ. Never TIOCSTI, TIOCLINUX, TIOCSETD, FIOSETOWN.
_IOCTL_ALLOWED: Final = (0x541B, 0x5421, 0x5450, 0x5451, 0x5401, 0x802C_542A, 0x5413, 2)
#: Duplicates, flags, a look at record locks, the size of a pipe. Never F_SETLEASE, F_NOTIFY, F_SETOWN, F_SETSIG, F_SETPIPE_SZ.
_FCNTL_ALLOWED: Final = (0, 1, 2, 3, 4, 5, 36, 1027, 1030, 1032)
_FCNTL_LOCKS: Final = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, and those of open files
#: GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ, GET_TID_ADDRESS, GET_NO_NEW_PRIVS, SET_VMA
_PRCTL_ALLOWED: Final = (3, 15, 16, 21, 23, 40, 39, 0x5356_4D41)
#: SET_GS, SET_FS, GET_FS, GET_GS, GET_XCOMP_SUPP, GET_XCOMP_PERM, REQ_XCOMP_PERM (wide registers), CET_STATUS, SHSTK_STATUS
_ARCH_PRCTL_ALLOWED: Final = (0x1001, 0x1002, 0x1003, 0x1004, 0x1021, 0x1022, 0x1023, 0x3001, 0x5005)
_MAP_HUGETLB: Final = 0x4_0000
_MS_SYNC: Final = 4
_RENAME_WHITEOUT: Final = 4
_RLIMIT_CORE: Final = 4
_MADVISE_DENIED: Final = (12, 100, 101)  # MERGEABLE (others' pages show by timing), HWPOISON, SOFT_OFFLINE
_O_ACCMODE, _O_TRUNC = 3, 0o1000

_LOOKS: Final = (
    *("getpgid", "getsid", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler"),
    "sched_rr_get_interval",
)
_OPENING: Final = "open openat"  # in this order: where the first is told the flags, and where the second
_MODES: Final = ("chmod", "fchmod", "fchmodat", "fchmodat2")
_TIMES: Final = {"futimesat": 2, "utime": 1, "utimensat": 2, "utimes": 1}  # where each is told the times

#: Stands for the process's own number until the filter is installed: no argument of any rule has this value.
_OWN_PID: Final = 0x5E1F_0BED

Instruction = tuple[int, int, int, int]
Program = list[Instruction]


@dataclass(frozen=True)
class Grants:
    """What of a box decides about system calls."""

    forks: bool  # other processes than the first
    executes: bool
    unix_sockets: bool
    sees_others: bool  # no pid namespace: the numbers of the host's processes mean something here
    owns_others: bool  # files outside may have the plugin's own owner
    truncates: bool = True  # False: Landlock cannot tell truncating from reading
    drops_later: bool = False  # capabilities are dropped after the filter


def _do(code: int, value: int, yes: int = 0, no: int = 0) -> Instruction:
    return (code, yes, no, value)


def _low(argument: int) -> Instruction:
    return _do(_LOAD, 16 + 8 * argument)


def _answer(number: int) -> Instruction:
    return _do(_RETURN, _ERRNO | number)


_REFUSE: Final = _answer(errno.EPERM)
_PERMIT: Final = _do(_RETURN, _ALLOW)


def _only(argument: int, values: tuple[int, ...], mask: int = 0) -> Program:
    """Permit where the argument, or what the mask leaves of it, is one of these."""
    checks = [_do(_EQUAL, value, len(values) - place) for place, value in enumerate(values)]
    return [_low(argument), *([_do(_AND, mask)] if mask else []), *checks, _REFUSE, _PERMIT]


def _never(argument: int, values: tuple[int, ...]) -> Program:
    """Refuse where the argument is one of these."""
    checks = [_do(_EQUAL, value, len(values) - place) for place, value in enumerate(values)]
    return [_low(argument), *checks, _PERMIT, _REFUSE]


def _if_equal(argument: int, value: int, then: Program) -> Program:
    """Refuse where the argument is not this; else judge on."""
    return [_low(argument), _do(_EQUAL, value, 1), _REFUSE, *then]


def _clone(*, threads_only: bool) -> Program:
    checks = [_low(0), _do(_ANY_BIT, _CLONE_DENIED, 0, 1), _REFUSE]
    if threads_only:
        checks += [_do(_ANY_BIT, _CLONE_THREAD, 1, 0), _REFUSE]
    return [*checks, _PERMIT]


def _fcntl(*, locks: bool) -> Program:
    """Judge by the command. Record locks of a lone process exclude nobody of its own, only others: they succeed without effect."""
    allowed = _FCNTL_ALLOWED + _FCNTL_LOCKS if locks else _FCNTL_ALLOWED
    rule = _only(1, allowed)
    if not locks:
        for command in _FCNTL_LOCKS:
            rule[1:1] = [_do(_EQUAL, command, 0, 1), _answer(0)]
    return rule


def _times(place: int) -> Program:
    """Succeed without effect; but refuse to set the time of now: who is refused that creates the file."""
    high = _do(_LOAD, 16 + 8 * place + 4)
    return [_low(place), _do(_EQUAL, 0, 0, 2), high, _do(_EQUAL, 0, 1), _answer(0), _REFUSE]


def _own_limits() -> Program:
    """Refuse another process's limits, and to set the one that keeps a crash from the host's program for dumps (rlimits.py)."""
    high = _do(_LOAD, 16 + 8 * 2 + 4)
    is_set = [*_if_equal(2, 0, [high]), _do(_EQUAL, 0, 1), _REFUSE, _PERMIT]
    return _if_equal(0, 0, [_low(1), _do(_EQUAL, _RLIMIT_CORE, 1), _PERMIT, *is_set])


def _without_truncating_reads(flags: int) -> Program:
    """Refuse to open for reading what is truncated by that."""
    return [_low(flags), _do(_AND, _O_ACCMODE | _O_TRUNC), _do(_EQUAL, _O_TRUNC, 0, 1), _REFUSE, _PERMIT]


def _rules(grants: Grants) -> dict[str, Program]:
    """Return what decides about each ruled call."""
    yes, no = [_PERMIT], [_REFUSE]
    signals = _only(0, (_OWN_PID,)) if grants.sees_others else yes
    looks = _only(0, (0, _OWN_PID)) if grants.sees_others else yes
    pairs = _if_equal(0, _AF_UNIX, _only(1, _SOCKET_TYPES, mask=0xF))
    rules = {
        "clone": _clone(threads_only=not grants.forks),
        "fcntl": _fcntl(locks=grants.forks),
        "ioctl": _only(1, _IOCTL_ALLOWED),
        "madvise": _never(2, _MADVISE_DENIED),
        "msync": [_low(2), _do(_ANY_BIT, _MS_SYNC, 0, 1), _answer(0), _PERMIT],
        "mmap": [_low(3), _do(_ANY_BIT, _MAP_HUGETLB, 0, 1), _REFUSE, _PERMIT],
        "prctl": _only(0, _PRCTL_ALLOWED),
        "arch_prctl": _only(0, _ARCH_PRCTL_ALLOWED),
        "renameat2": [_low(4), _do(_ANY_BIT, _RENAME_WHITEOUT, 0, 1), _REFUSE, _PERMIT],
        "prlimit64": _own_limits(),
        "setrlimit": _never(0, (_RLIMIT_CORE,)),
        "socket": pairs if grants.unix_sockets else no,
        "socketpair": pairs,
        "setsockopt": _if_equal(1, 1, _only(2, _SOCKET_OPTIONS)),
        "connect": yes if grants.unix_sockets else no,
        "capset": yes if grants.drops_later else no,
        "openat2": yes if grants.truncates else [_answer(errno.ENOSYS)],
        "truncate": yes if grants.truncates else no,
        "getpriority": _only(1, (0, _OWN_PID)) if grants.sees_others else yes,
    }
    for place, name in enumerate(_OPENING.split(), 1):
        rules[name] = yes if grants.truncates else _without_truncating_reads(place)
    rules |= dict.fromkeys(("fork", "vfork"), yes if grants.forks else no)
    rules |= dict.fromkeys(("execve", "execveat"), yes if grants.executes else no)
    rules |= dict.fromkeys(("kill", "tgkill"), signals)
    rules |= dict.fromkeys(_LOOKS, looks)
    # Success without effect: a copy of a file is not worth less for its mode, and refused it would not be made at all.
    rules |= dict.fromkeys(_MODES, [_answer(0)] if grants.owns_others else yes)
    rules |= {name: _times(place) if grants.owns_others else yes for name, place in _TIMES.items()}
    return rules


@lru_cache(maxsize=64)
def assemble(machine: str, grants: Grants) -> bytes:
    """Return the filter's instructions for a machine; own_pid puts the process's number in."""
    numbers = NUMBERS[machine]
    program: Program = [_do(_LOAD, 4), _do(_EQUAL, _ARCHES[machine], 1, 0), _do(_RETURN, _KILL), _do(_LOAD, 0)]
    if machine == "x86_64":
        program += [_do(_FROM, _X32_BIT, 0, 1), _do(_RETURN, _KILL)]
    unknown = [_answer(errno.ENOSYS)]
    judged: dict[int, Program] = {number: [_REFUSE] for number in numbers.values()}
    answers = {0: EMPTIED, errno.ENOSYS: ABSENT, errno.ENOTSUP: UNSUPPORTED}
    judged |= {number: [_PERMIT] for number in _pick(ALLOWED, numbers)}
    for answer, table in answers.items():
        judged |= {number: [_answer(answer)] for number in _pick(table, numbers)}
    judged |= {numbers[name]: rule for name, rule in _rules(grants).items() if name in numbers}
    runs: list[tuple[int, Program]] = []
    for number in range(max(judged) + 2):
        rule = judged.get(number, unknown)
        if not runs or runs[-1][1] != rule:
            runs.append((number, rule))
    return b"".join(struct.pack("=HBBI", *one) for one in [*program, *_search(runs)])


def _pick(table: dict[str, str], numbers: dict[str, int]) -> set[int]:
    return {numbers[name] for text in table.values() for name in text.split() if name in numbers}


def _search(runs: list[tuple[int, Program]]) -> Program:
    """Find a number's rule by halves; each run goes from its first number to the next one's."""
    if len(runs) == 1:
        return runs[0][1]
    middle = len(runs) // 2
    low, high = _search(runs[:middle]), _search(runs[middle:])
    first = runs[middle][0]
    if len(low) <= _FARTHEST:
        return [_do(_FROM, first, len(low), 0), *low, *high]
    return [_do(_FROM, first, 0, 1), _do(_GO, len(low)), *low, *high]


def own_pid(code: bytes, pid: int) -> bytes:
    """Put a process's number where the assembled filter leaves room for it."""
    return code.replace(struct.pack("=I", _OWN_PID), struct.pack("=I", pid))


def grants_of(box: Box) -> Grants:
    """Return what a box grants."""
    is_hidden = box.tier == "strict" and "pid_namespace" not in box.off
    return Grants(
        forks=box.limits.processes > 0,
        executes=bool(box.programs),
        unix_sockets=bool(box.proxy),
        sees_others=not is_hidden,
        owns_others=box.tier == "standard" and box.uid < 0,
        truncates=box.tier == "strict" or "landlock" in box.off or landlock.abi() >= landlock.ABI_TRUNCATE,
        drops_later="no_new_privs" in box.off,
    )


def warm() -> None:
    """Assemble the usual filters, so that a process that is forked for a call finds them."""
    usual = Grants(forks=False, executes=False, unix_sockets=False, sees_others=False, owns_others=False)
    plain = replace(usual, sees_others=True)
    for grants in (usual, replace(usual, forks=True, executes=True), plain, replace(plain, owns_others=True)):
        assemble(os.uname().machine, grants)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def install(box: Box) -> None:
    """Install the filter on this process for good; raise LayerFailed."""
    if box.proxy and box.tier != "strict":
        raise LayerFailed(
            "seccomp", "a proxy needs a mount namespace: without one, every unix socket of the host is in reach"
        )
    code = own_pid(assemble(os.uname().machine, grants_of(box)), os.getpid())
    shape = _Filter(len(code) // 8, code)
    try:
        syscalls.call("seccomp", 1, 0, ctypes.byref(shape))  # SECCOMP_SET_MODE_FILTER
        mode = syscalls.prctl(21)  # PR_GET_SECCOMP
    except OSError as error:
        raise LayerFailed("seccomp", str(error)) from error
    if mode != 2:
        raise LayerFailed("seccomp", f"the mode is {mode} after the filter was installed, not 2")
    try:
        syscalls.call("flock", -1, 0)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return
    raise LayerFailed("seccomp", "a call that the filter hides is still answered by the kernel")
