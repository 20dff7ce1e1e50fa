"""Enters the namespaces that hide the host: user, mount, pid, network, ipc, uts.

Does not decide which are wanted (the Ground says what is off) and mounts nothing (mounts.py). That of control groups comes later
(cgroups.py).

Two ways in. An ordinary user makes its user namespace with the others and maps its own id. Root takes a user namespace that the
zygote prepared, because more than one id is mapped there (its own, and the slot's that the plugin runs as), which only a
process outside it may write.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Ground, LayerFailed

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

#: What an ordinary user is inside: not 0, which would gain capabilities by exec, and not its own number, which is the host's.
INSIDE_ID = 1000

HOST_NAME = b"sandbox"

_FLAGS = {
    "mount_namespace": CLONE_NEWNS,
    "pid_namespace": CLONE_NEWPID,
    "network_namespace": CLONE_NEWNET,
    "ipc_namespace": CLONE_NEWIPC,
    "uts_namespace": CLONE_NEWUTS,
}

LAYERS = ("user_namespace", *_FLAGS)

IdMap = tuple[tuple[int, int, int], ...]


class UserNamespaces:
    """User namespaces by their maps, made once and kept open: making one costs a fork."""

    _LIMIT = 64

    def __init__(self) -> None:
        self._kept: dict[tuple[IdMap, IdMap], int] = {}

    def get(self, uids: IdMap, gids: IdMap) -> int:
        """Return a descriptor of a user namespace with these maps (inside, outside, count)."""
        key = (uids, gids)
        if key not in self._kept:
            if len(self._kept) >= self._LIMIT:
                os.close(self._kept.pop(next(iter(self._kept))))
            self._kept[key] = _make_user_namespace(uids, gids)
        return self._kept[key]


def _lines(entries: IdMap) -> bytes:
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in entries).encode()


def _write(path: str, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def _make_user_namespace(uids: IdMap, gids: IdMap) -> int:
    """Let a child enter a new user namespace, write its maps from outside, and keep the namespace when the child has gone."""
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)  # else it would never see the parent's end close
        try:
            syscalls.call("unshare", CLONE_NEWUSER)
            os.write(ready_write, b"1")
            os.read(go_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    os.close(go_read)
    try:
        if os.read(ready_read, 1) != b"1":
            raise LayerFailed("user_namespace", "unshare(CLONE_NEWUSER) is refused")
        try:
            _write(f"/proc/{child}/uid_map", _lines(uids))
            _write(f"/proc/{child}/gid_map", _lines(gids))
            return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LayerFailed("user_namespace", f"id maps: {error}") from error
    finally:
        os.close(ready_read)
        os.close(go_write)
        os.waitpid(child, 0)


def enter(ground: Ground, prepared: int) -> None:
    """Move this process into the namespaces; its next child is the first process of the new pid namespace.

    prepared: the user namespace that root enters; -1: an ordinary user makes one.
    """
    uid, gid = os.geteuid(), os.getegid()  # afterwards they read as nobody's
    wanted = {layer: flag for layer, flag in _FLAGS.items() if layer not in ground.off}
    with _failing("user_namespace"):
        if prepared >= 0:
            syscalls.call("setns", prepared, CLONE_NEWUSER)
        elif "user_namespace" not in ground.off:
            syscalls.call("unshare", CLONE_NEWUSER)
            _map_self(uid, gid)
    _unshare(wanted)
    if "user_namespace" not in ground.off:
        with _failing("user_namespace"):  # a limit of this namespace alone: nothing inside can make another one
            _write("/proc/sys/user/max_user_namespaces", b"0")
    if "uts_namespace" in wanted:
        with _failing("uts_namespace"):
            syscalls.call("sethostname", HOST_NAME, len(HOST_NAME))


def _map_self(uid: int, gid: int) -> None:
    _write("/proc/self/setgroups", b"deny")
    _write("/proc/self/uid_map", _lines(((INSIDE_ID, uid, 1),)))
    _write("/proc/self/gid_map", _lines(((INSIDE_ID, gid, 1),)))


def _unshare(wanted: dict[str, int]) -> None:
    """All in one call; one by one only to learn which is refused."""
    try:
        syscalls.call("unshare", sum(wanted.values()))
    except OSError as error:
        for layer, flag in wanted.items():
            with _failing(layer):
                syscalls.call("unshare", flag)
        raise LayerFailed("mount_namespace", f"unshare: {error}") from error


@contextlib.contextmanager
def _failing(layer: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayerFailed(layer, str(error)) from error


def slot_maps(ids: Iterable[int]) -> IdMap:
    """Map each of these ids to itself, once.

    >>> slot_maps([0, 60000])
    ((0, 0, 1), (60000, 60000, 1))
    """
    return tuple((number, number, 1) for number in sorted(set(ids)))
