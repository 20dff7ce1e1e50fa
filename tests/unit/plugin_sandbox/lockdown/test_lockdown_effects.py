"""What a locked-down process cannot reach. Beside each refusal the same attempt without the layers."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import LAYERS, Box
from tests.unit.plugin_sandbox.lockdown.users import IS_ROOT, ORDINARY, SLOT, MiB, as_root, as_users, uid_of, user_of


def outside(box: Box) -> Path:
    """The folder that the box does not name."""
    return Path(box.package).parent / "outside"


def call(name: str, *args: Any) -> Callable[[Box], object]:
    """Make an attempt of a bare system call."""
    return lambda _: syscalls.call(name, *args)


def start_a_process(_: Box) -> None:
    """Fork, and take leave of the child."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


victim = 0


def start_a_victim() -> None:
    """A process of the same user, outside the box; it ends when the one that starts it has gone."""
    global victim  # noqa: PLW0603 - of the forked child alone
    reader, writer = os.pipe()
    victim = os.fork()
    if victim == 0:
        os.dup2(reader, 0)
        os.closerange(1, 4096)  # the pipe of the answer too
        os.read(0, 1)
        os._exit(0)
    os.close(reader)
    os.set_inheritable(writer, False)


def set_anothers_limit(_: Box) -> None:
    """To what it is: harmless if it succeeds."""
    resource.prlimit(victim, resource.RLIMIT_NOFILE, resource.prlimit(victim, resource.RLIMIT_NOFILE))


def own_a_socket_for_another(_: Box) -> None:
    """Have the kernel signal another process when data arrives; no data arrives here."""
    left, right = socket.socketpair()
    with left, right:
        fcntl.fcntl(left, fcntl.F_SETOWN, victim)


def send_to_a_path(box: Box) -> None:
    """Reach a datagram socket of the host by its path, from a socket pair."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.sendto(b"hello", str(outside(box) / "socket"))


def lease(box: Box) -> None:
    """Make the next open of a file wait."""
    with (Path(box.work) / "leased").open("w") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)


def lock_a_shared_file(box: Box) -> None:
    """Talk to who else can open it."""
    with (Path(box.package) / "code.txt").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def set_an_attribute(box: Box) -> None:
    """Leave data where no diff looks."""
    path = Path(box.tmp) / "attributed"
    path.touch()
    os.setxattr(path, "user.hidden", b"1")


def huge_pages(_: Box) -> None:
    """Take from the host's pool, or ask for it: refused it is EPERM, and else what the pool says."""
    try:
        mmap.mmap(-1, 2 * MiB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000).close()
    except OSError as error:
        if error.errno != 12:
            raise


#: name -> attempt, errors that stop it
ATTEMPTS: dict[str, tuple[Callable[[Box], object], set[int]]] = {
    "read outside": (lambda box: (outside(box) / "canary").read_text(), {13}),
    "list outside": (lambda box: os.listdir(outside(box)), {13}),
    "write outside": (lambda box: (outside(box) / "canary").write_text("changed"), {13}),
    "create outside": (lambda box: (outside(box) / "new").touch(), {13}),
    "truncate outside": (lambda box: os.truncate(outside(box) / "canary", 0), {13}),
    "remove outside": (lambda box: (outside(box) / "canary").unlink(), {13}),
    "move out": (lambda box: (Path(box.work) / "file").rename(outside(box) / "file"), {13, 18}),
    "link in": (lambda box: os.link(outside(box) / "canary", Path(box.work) / "linked"), {1, 13, 18}),
    "read by dotdot": (lambda box: (Path(box.work) / "../../outside/canary").read_text(), {13}),
    "change the package": (lambda box: (Path(box.package) / "code.txt").write_text("changed"), {13}),
    "make a fifo": (lambda box: os.mkfifo(Path(box.work) / "fifo"), {1}),
    "give a file away": (lambda box: os.chown(Path(box.work) / "file", -1, os.getgid()), {1}),
    "set an attribute": (set_an_attribute, {95}),
    "lock a shared file": (lock_a_shared_file, {38}),
    "lease": (lease, {1}),
    "start a process": (start_a_process, {1}),
    "see another process": (lambda _: os.kill(victim, 0), {1}),
    "set another's limit": (set_anothers_limit, {1}),
    "signal by a socket": (own_a_socket_for_another, {1}),
    "open another's pidfd": (lambda _: os.close(os.pidfd_open(victim)), {1}),
    "inet socket": (lambda _: socket.socket(socket.AF_INET).close(), {1}),
    "unix socket": (lambda _: socket.socket(socket.AF_UNIX).close(), {1}),
    "netlink socket": (lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(), {1}),
    "datagram to a path": (send_to_a_path, {1}),
    "memory in a file": (lambda _: os.close(os.memfd_create("x")), {1}),
    "shared memory": (call("shmctl", 0, 3, (ctypes.c_char * 256)()), {1}),  # IPC_INFO
    "message queues": (call("msgctl", 0, 3, (ctypes.c_char * 256)()), {1}),
    "keyrings": (call("keyctl", 0, -3, 0), {1}),  # KEYCTL_GET_KEYRING_ID
    "pages between processes": (call("process_vm_readv", os.getpid(), None, 0, None, 0, 0), {1}),
    "no address randomness": (call("personality", 0xFFFF_FFFF), {1}),  # asks only
    "compare processes": (lambda _: syscalls.call("kcmp", os.getpid(), victim, 1, 0, 0), {1}),
    "other processors": (lambda _: os.sched_setaffinity(0, os.sched_getaffinity(0)), {1}),
    "priority": (lambda _: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)), {1}),
    "new user namespace": (call("unshare", 0x1000_0000), {1}),
    "io_uring": (lambda _: os.close(syscalls.call("io_uring_setup", 1, (ctypes.c_char * 120)())), {1}),
    "file handles": (call("name_to_handle_at", -100, b"/", (ctypes.c_int * 64)(128), (ctypes.c_int * 1)(), 0), {1}),
    "huge pages": (huge_pages, {1}),
    "watch files": (lambda _: os.close(syscalls.call("inotify_init1", 0)), {1}),
    "clone3": (call("clone3", 0, 0), {38}),
}
#: Those whose control depends on what the host's kernel permits to anybody.
UNSURE = {"new user namespace", "io_uring", "keyrings", "clone3", "pages between processes", "open another's pidfd"}


def try_it(name: str) -> Callable[[Box], object]:
    """Return the error's number, or 0."""

    def work(box: Box) -> int:
        (Path(box.work) / "file").touch()
        try:
            ATTEMPTS[name][0](box)
        except OSError as error:
            return error.errno or -1
        return 0

    return work


@pytest.mark.parametrize("name", ATTEMPTS)
@as_users()
def test_an_attempt_to_get_out_is_refused(name: str, who: str, make_box: Any, run_child: Any) -> None:
    """Whoever the plugin runs as, and although all that is outside has its own owner."""
    box = make_box(**user_of(who))
    user = uid_of(who)

    assert run_child(box, try_it(name), user=user, before=start_a_victim) in ATTEMPTS[name][1]


@pytest.mark.parametrize("name", sorted(ATTEMPTS.keys() - UNSURE))
def test_the_attempt_succeeds_without_the_layers(name: str, make_box: Any, run_child: Any, places: Path) -> None:
    """An attempt that fails anyway proves nothing."""
    user = ORDINARY if IS_ROOT else None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(places / "outside" / "socket"))

        assert run_child(make_box(off=LAYERS), try_it(name), user=user, before=start_a_victim) == 0


@as_users()
def test_modes_and_times_outside_stay(who: str, make_box: Any, run_child: Any, places: Path) -> None:
    """No layer but the filter keeps a plugin that runs as the worker's own user from them."""
    canary = places / "outside" / "canary"
    canary.chmod(0o640)
    os.utime(canary, (1000, 1000))

    def work(box: Box) -> None:
        for attempt in (lambda: canary.chmod(0o777), lambda: os.utime(canary, (5, 5))):
            with contextlib.suppress(OSError):
                attempt()

    run_child(make_box(**user_of(who)), work, user=uid_of(who))

    assert (canary.stat().st_mode & 0o777, canary.stat().st_mtime) == (0o640, 1000)
    run_child(make_box(off=LAYERS), work, user=ORDINARY if IS_ROOT else None)
    assert (canary.stat().st_mode & 0o777, canary.stat().st_mtime) == (0o777, 5)


def _status(_: Box) -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@as_root
def test_the_slots_user_has_nothing_of_root(make_box: Any, run_child: Any) -> None:
    """Root's processes, files and capabilities are the host's."""
    before = run_child(make_box(off=LAYERS), _status)

    found = run_child(make_box(uid=SLOT, gid=SLOT), _status)

    assert int(before["CapEff"], 16) and int(before["CapBnd"], 16)
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"], found["Groups"].strip()) == ("1", "2", "")
    assert set(found["Uid"].split()) == set(found["Gid"].split()) == {str(SLOT)}
