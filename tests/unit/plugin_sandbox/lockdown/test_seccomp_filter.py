"""The filter's program, run on paper for both machines: what it answers to every number, and to arguments."""

import dataclasses
import errno
import struct

import pytest

from plugin_sandbox.inner.seccomp import _OWN_PID, Grants, assemble, own_pid
from plugin_sandbox.inner.syscall_table import ABSENT, ALLOWED, DENIED, EMPTIED, NUMBERS, UNSUPPORTED

ARCHES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
ALLOW, KILL, ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
REFUSE = ERRNO | errno.EPERM
CLOSED = Grants(forks=False, executes=False, unix_sockets=False, sees_others=False, owns_others=False)
BOTH = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
ME, OTHER = 4321, 4322


def _judge(code: bytes, number: int, arguments: tuple[int, ...] = (), *, arch: int) -> int:
    """Run a filter as the kernel would, and return its answer."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *(*arguments, *[0] * 6)[:6])
    program = list(struct.iter_unpack("=HBBI", code))
    place = value = 0
    while True:
        operation, yes, no, constant = program[place]
        place += 1
        if operation == 0x06:
            return int(constant)
        if operation == 0x20:
            (value,) = struct.unpack_from("=I", data, constant)
        elif operation == 0x05:
            place += constant
        elif operation == 0x54:
            value &= constant
        else:
            tests = {0x15: value == constant, 0x25: value > constant, 0x35: value >= constant, 0x45: value & constant}
            place += yes if tests[operation] else no


def _answer(machine: str, name: str, *arguments: int, grants: Grants = CLOSED) -> int:
    code = own_pid(assemble(machine, grants), ME)
    return _judge(code, NUMBERS[machine][name], arguments, arch=ARCHES[machine])


@BOTH
@pytest.mark.parametrize(
    "grants", [CLOSED, Grants(forks=True, executes=True, unix_sockets=True, sees_others=True, owns_others=True)]
)
def test_every_number_is_answered_as_the_table_says(machine: str, grants: Grants) -> None:
    """The program is made of the table; nothing that is denied there may slip through, whatever is granted."""
    wanted = {name: ALLOW for text in ALLOWED.values() for name in text.split()}
    wanted |= {name: REFUSE for text in DENIED.values() for name in text.split()}
    wanted |= {name: ERRNO for text in EMPTIED.values() for name in text.split()}
    wanted |= {name: ERRNO | errno.ENOSYS for text in ABSENT.values() for name in text.split()}
    wanted |= {name: ERRNO | errno.ENOTSUP for text in UNSUPPORTED.values() for name in text.split()}

    found = {name: _answer(machine, name, grants=grants) for name in NUMBERS[machine] if name in wanted}

    assert found == {name: wanted[name] for name in found}


@BOTH
def test_a_number_that_the_table_does_not_know_is_answered_as_an_older_kernel_does(machine: str) -> None:
    """A new call must not be open because nobody has thought of it, and libraries must find their way around it."""
    code, known = assemble(machine, CLOSED), set(NUMBERS[machine].values())
    unknown = [number for number in range(600) if number not in known]

    assert {_judge(code, number, arch=ARCHES[machine]) for number in unknown} == {ERRNO | errno.ENOSYS}


@BOTH
def test_another_abi_ends_the_process(machine: str) -> None:
    """Its numbers mean other calls: what the table says would be about something else."""
    code = assemble(machine, CLOSED)

    assert {_judge(code, 1, arch=arch) for arch in (0x4000_0003, 0x4000_0028, 0xC000_00F3, 0)} == {KILL}


def test_x32_ends_the_process() -> None:
    """It has the same name as the machine's own ABI, and other numbers."""
    code = assemble("x86_64", CLOSED)

    assert {_judge(code, number | 0x4000_0000, arch=ARCHES["x86_64"]) for number in (0, 1, 39, 520)} == {KILL}
    assert _judge(code, 0xFFFF_FFFF, arch=ARCHES["x86_64"]) == KILL


@BOTH
@pytest.mark.parametrize(
    ("call", "refused"),
    [
        (("clone", 0x3D0F00 | 0x10000), ("clone", 0x11)),  # a thread; a process
        (("clone", 0x10000), ("clone", 0x10000 | 0x1000_0000)),  # CLONE_NEWUSER
        (("prlimit64", 0, 7), ("prlimit64", OTHER, 7)),
        (("prlimit64", 0, 4, 0), ("prlimit64", 0, 4, 1)),  # looking at RLIMIT_CORE; setting it
        (("prlimit64", 0, 7, 1 << 40), ("prlimit64", 0, 4, 1 << 40)),
        (("setrlimit", 7), ("setrlimit", 4)),
        (("renameat2", 0, 0, 0, 0, 3), ("renameat2", 0, 0, 0, 0, 4)),  # NOREPLACE, EXCHANGE; WHITEOUT
        (("ioctl", 0, 0x541B), ("ioctl", 0, 0x5412)),  # FIONREAD; TIOCSTI
        (("ioctl", 0, 0x5401), ("ioctl", 0, 0x541C)),  # TCGETS; TIOCLINUX
        (("ioctl", 0, 0x5421), ("ioctl", 0, 0x5423)),  # FIONBIO; TIOCSETD
        (("ioctl", 0, 0x5451), ("ioctl", 0, 0x8901)),  # FIOCLEX; FIOSETOWN
        (("fcntl", 0, 1030), ("fcntl", 0, 1024)),  # F_DUPFD_CLOEXEC; F_SETLEASE
        (("fcntl", 0, 3), ("fcntl", 0, 1026)),  # F_GETFL; F_NOTIFY
        (("fcntl", 0, 4), ("fcntl", 0, 8)),  # F_SETFL; F_SETOWN
        (("fcntl", 0, 0), ("fcntl", 0, 1031)),  # F_DUPFD; F_SETPIPE_SZ
        (("prctl", 15), ("prctl", 22)),  # SET_NAME; SET_SECCOMP
        (("prctl", 39), ("prctl", 1)),  # GET_NO_NEW_PRIVS; SET_PDEATHSIG
        (("socketpair", 1, 1 | 0o2004000), ("socketpair", 2, 1)),
        (("socketpair", 1, 5), ("socketpair", 1, 2)),  # SEQPACKET; DGRAM, which sends to any path
        (("setsockopt", 0, 1, 20), ("setsockopt", 0, 1, 7)),  # RCVTIMEO; SNDBUF
        (("setsockopt", 0, 1, 2), ("setsockopt", 0, 6, 2)),
        (("mmap", 0, 4096, 3, 0x22), ("mmap", 0, 4096, 3, 0x40022)),  # MAP_HUGETLB
        (("madvise", 0, 0, 4), ("madvise", 0, 0, 12)),  # DONTNEED; MERGEABLE
    ],
)
def test_arguments_decide(machine: str, call: tuple[str, int], refused: tuple[str, int]) -> None:
    """What libraries need, and beside it what would reach out of the box by the same call."""
    assert _answer(machine, *call) == ALLOW
    assert _answer(machine, *refused) == REFUSE


@BOTH
@pytest.mark.parametrize("name", ["execve", "execveat", "socket", "connect", "capset"])
def test_what_is_not_granted_is_refused(machine: str, name: str) -> None:
    """The default box grants none of it."""
    assert _answer(machine, name, 1, 1) == REFUSE


@pytest.mark.parametrize("name", ["fork", "vfork"])
def test_a_plugin_of_one_process_has_no_second(name: str) -> None:
    """Its limits then bind it exactly."""
    assert _answer("x86_64", name) == REFUSE
    assert _answer("x86_64", name, grants=dataclasses.replace(CLOSED, forks=True)) == ALLOW


@BOTH
def test_grants_open_what_they_name(machine: str) -> None:
    """Processes without namespaces; execution; unix sockets and no others."""
    wide = dataclasses.replace(CLOSED, forks=True, executes=True, unix_sockets=True)

    assert _answer(machine, "clone", 0x11, grants=wide) == ALLOW
    assert _answer(machine, "clone", 0x2000_0011, grants=wide) == REFUSE
    assert _answer(machine, "execve", grants=wide) == ALLOW
    assert _answer(machine, "socket", 1, 1, grants=wide) == ALLOW
    assert {_answer(machine, "socket", family, 1, grants=wide) for family in (2, 10, 16, 17, 38, 40)} == {REFUSE}
    assert _answer(machine, "socket", 1, 2, grants=wide) == REFUSE


@BOTH
def test_without_a_pid_namespace_only_the_process_itself_is_reached(machine: str) -> None:
    """There the numbers are the host's."""
    plain = dataclasses.replace(CLOSED, sees_others=True)

    for name in ("kill", "tgkill"):
        assert [_answer(machine, name, pid, grants=plain) == ALLOW for pid in (ME, OTHER, 0, 1, 2**32 - 1)] == [
            True,
            *[False] * 4,
        ]
    for name in ("getsid", "sched_getaffinity", "sched_getparam"):
        assert [_answer(machine, name, pid, grants=plain) == ALLOW for pid in (ME, 0, OTHER)] == [True, True, False]
    assert _answer(machine, "kill", OTHER) == ALLOW  # in a pid namespace it can only be one's own


@BOTH
def test_modes_and_times_of_the_same_owners_files_cannot_be_changed(machine: str) -> None:
    """Landlock leaves them open to a plugin that runs as the worker's own user; a copy must not fail for it."""
    same = dataclasses.replace(CLOSED, owns_others=True)

    assert {_answer(machine, name, grants=same) for name in ("fchmod", "fchmodat", "fchmodat2")} == {ERRNO}
    assert {_answer(machine, "utimensat", 0, 0, times, grants=same) for times in (1, 1 << 32, 1 << 33)} == {ERRNO}
    assert _answer(machine, "utimensat", 0, 0, 0, grants=same) == REFUSE  # to now: Path.touch then creates the file
    assert {_answer(machine, name) for name in ("fchmod", "utimensat")} == {ALLOW}


@BOTH
def test_the_hosts_disk_is_not_made_to_write(machine: str) -> None:
    """A loop of them would flush the disk that others wait for; telling that a page is there goes on."""
    assert _answer(machine, "msync", 0, 4096, 4) == ERRNO
    assert _answer(machine, "msync", 0, 4096, 1) == ALLOW


@BOTH
def test_where_landlock_cannot_see_truncating_the_filter_does(machine: str) -> None:
    """Kernels before 6.2 let a file be truncated that may only be read."""
    old = dataclasses.replace(CLOSED, truncates=False)

    assert _answer(machine, "openat", 0, 0, 0o1000, grants=old) == REFUSE
    assert _answer(machine, "openat", 0, 0, 0o1001, grants=old) == ALLOW
    assert _answer(machine, "truncate", grants=old) == REFUSE
    assert _answer(machine, "openat2", grants=old) == ERRNO | errno.ENOSYS
    assert _answer(machine, "openat", 0, 0, 0o1000) == ALLOW


@BOTH
def test_record_locks_of_a_lone_process_reach_nobody(machine: str) -> None:
    """sqlite needs them to succeed; a lock on a shared file would be a channel, and could keep the host waiting."""
    assert {_answer(machine, "fcntl", 0, command) for command in (6, 7, 37, 38)} == {ERRNO}
    assert _answer(machine, "fcntl", 0, 5) == ALLOW
    assert _answer(machine, "fcntl", 0, 6, grants=dataclasses.replace(CLOSED, forks=True)) == ALLOW


@BOTH
def test_the_program_fits_and_ends(machine: str) -> None:
    """The kernel takes 4096 instructions, jumps of 255, and its number is put where it was left out."""
    wide = Grants(forks=True, executes=True, unix_sockets=True, sees_others=True, owns_others=True, truncates=False)
    code = own_pid(assemble(machine, wide), ME)

    assert len(code) // 8 < 1024
    assert struct.pack("=I", _OWN_PID) not in code
