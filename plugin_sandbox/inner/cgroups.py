"""Control groups of one call: made below the worker's own, limited, read, removed.

Version 1 (a folder for each controller) and version 2 (one folder for all), told apart by the files that are there. The host
makes and removes them; the plugin's process enters by itself before it runs anything; the monitor reads them, by descriptors
that it opened before the host's tree went out of view. Does not decide what happens where there is none (watchdog.py).
"""

import contextlib
import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import BoxLimits, LayerFailed

_MOUNTS = "/proc/self/mountinfo"
_OWN = "/proc/self/cgroup"
_SYSTEMD = "/run/systemd/system"

#: controller -> its layer
LAYER_OF = {"memory": "memory_cgroup", "pids": "pids_cgroup", "cpu": "cpu_cgroup"}
#: controller -> version 1's hierarchy that counts for it
_V1 = {"memory": "memory", "pids": "pids", "cpu": "cpuacct"}
_REMOVE_SECONDS = 2.0
#: Version 2: where the worker's own processes go, because a group that hands controllers down may have none of its own.
_LEAF = "/baton-worker"
_LEND_TRIES = 50
_CLONE_NEWCGROUP = 0x0200_0000


def find_own(own: str = _OWN, mounts: str = _MOUNTS, systemd: str = _SYSTEMD) -> dict[str, str]:
    """Return controller -> folder of the group that this process is in, for those that exist and may be written.

    Where systemd rules version 2, only those that it has delegated: it takes back what another handed down in its own.
    """
    groups: dict[str, str] = {}
    unified = ""
    for line in _lines(own):
        _, names, path = line.split(":", 2)
        if not names:
            unified = path
        for name in names.split(","):
            groups[name] = path
    found: dict[str, str] = {}
    root_of_v2 = ""
    for line in _lines(mounts):
        head, _, tail = line.partition(" - ")
        root, point = head.split()[3:5]
        kind, _, options = tail.split(" ", 2)
        if kind == "cgroup":
            for controller, hierarchy in _V1.items():
                if hierarchy in options.split(",") and hierarchy in groups:
                    found[controller] = _below(point, root, groups[hierarchy])
        elif kind == "cgroup2":
            # Where this process has moved itself out of the way before, its own group is the one above.
            root_of_v2 = _below(point, root, unified).removesuffix(_LEAF)
            if os.path.isdir(systemd) and not _is_delegated(root_of_v2, point):
                root_of_v2 = ""
    for controller in LAYER_OF:
        if controller not in found and root_of_v2 and controller in _words(root_of_v2 + "/cgroup.controllers"):
            found[controller] = root_of_v2
    return {controller: folder for controller, folder in found.items() if os.access(folder, os.W_OK)}


def _below(point: str, root: str, path: str) -> str:
    """The group's folder under a mount point that may show only a part of the hierarchy."""
    inside = path.removeprefix(root) if root != "/" else path
    return os.path.normpath(f"{point}/{inside}")


def _is_delegated(folder: str, top: str) -> bool:
    """Say whether systemd left this group, or one above it, to whoever is in it; an ordinary user may write to no other."""
    if os.geteuid() != 0:
        return True
    while len(folder) > len(top):
        for name in ("user.delegate", "trusted.delegate"):
            try:
                if os.getxattr(folder, name) == b"1":
                    return True
            except OSError:
                continue  # an older systemd, or a worker that may not read it
        folder = os.path.dirname(folder)
    return False


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def _words(path: str) -> list[str]:
    try:
        return _read(path).split()
    except OSError:
        return []


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def create(own: Mapping[str, str], call_id: str, limits: BoxLimits) -> dict[str, str]:
    """Make the call's groups with their limits read back; raises LayerFailed and leaves nothing behind.

    call_id: the slot's name, a dash, and what is the call's alone.
    """
    made: dict[str, str] = {}
    _clear(own, call_id.rpartition("-")[0])
    for controller, parent in own.items():
        folder = f"{parent}/baton-{call_id}"
        try:
            if os.path.exists(parent + "/cgroup.controllers"):
                _lend(parent, controller)
            os.makedirs(folder, exist_ok=True)
            made[controller] = folder
            _limit(controller, folder, limits)
        except OSError as error:
            remove(made)
            raise LayerFailed(LAYER_OF[controller], f"{folder}: {error}") from error
    return made


def _clear(own: Mapping[str, str], place: str) -> None:
    """Remove what a killed worker left of the last call of this slot."""
    for parent in sorted(set(own.values())) if place else ():
        for name in os.listdir(parent) if os.path.isdir(parent) else ():
            if name.startswith(f"baton-{place}-"):
                _try_remove(f"{parent}/{name}")


def _lend(parent: str, controller: str) -> None:
    """Version 2: hand a controller down. Needs that no process is in the parent itself, so the worker moves into a leaf.

    Who forks meanwhile leaves its child in the parent: then all that are there move once more. The hierarchy's own root may have
    processes, and some that cannot be moved.
    """
    if controller in _words(parent + "/cgroup.subtree_control"):
        return
    is_root = not os.path.exists(parent + "/cgroup.type")
    for tries_left in reversed(range(1 if is_root else _LEND_TRIES)):
        if not is_root:
            _move_all(parent, parent + _LEAF)
        try:
            _write(parent + "/cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY or not tries_left:
                raise
        else:
            return


def _move_all(parent: str, leaf: str) -> None:
    os.makedirs(leaf, exist_ok=True)
    for pid in _words(parent + "/cgroup.procs"):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            _write(leaf + "/cgroup.procs", pid)


def _limit(controller: str, folder: str, limits: BoxLimits) -> None:
    if controller == "memory":
        if os.path.exists(folder + "/memory.limit_in_bytes"):
            _set(folder + "/memory.limit_in_bytes", limits.memory_bytes)
            swap = folder + "/memory.memsw.limit_in_bytes"
            if os.path.exists(swap):
                _set(swap, limits.memory_bytes)
            else:
                _write(folder + "/memory.swappiness", "0")
        else:
            _set(folder + "/memory.max", limits.memory_bytes)
            if os.path.exists(folder + "/memory.swap.max"):
                _write(folder + "/memory.swap.max", "0")
            _write(folder + "/memory.oom.group", "1")
    elif controller == "pids":
        # Counts threads; the first of them is the plugin's own first process.
        _set(folder + "/pids.max", limits.threads + limits.processes)


def _set(path: str, value: int) -> None:
    _write(path, str(value))
    kept = int(_read(path))
    page = os.sysconf("SC_PAGESIZE")
    if kept > value or value - kept >= page:
        raise OSError(errno.EINVAL, f"asked {value}, kept {kept}", path)


def controllers_of(folders: Mapping[str, str]) -> list[str]:
    """Return a controller for each distinct folder, in order: who joins that folder joins all of its controllers.

    >>> controllers_of({"memory": "/a", "pids": "/b", "cpu": "/a"})
    ['memory', 'pids']
    """
    seen: dict[str, str] = {}
    for controller, path in folders.items():
        seen.setdefault(path, controller)
    return list(seen.values())


def enter(procs: Mapping[int, str], *, hides: bool) -> None:
    """Move this process into the groups whose cgroup.procs these are: descriptor -> controller. hides: all above them from it.

    Raises LayerFailed: what was made to bind and does not is no smaller box.
    """
    for descriptor, controller in procs.items():
        try:
            os.write(descriptor, b"0")
        except OSError as error:
            raise LayerFailed(LAYER_OF[controller], f"the call's group cannot be joined: {error}") from error
    if hides:
        # Last, and not with the other namespaces: version 2 as systemd mounts it (nsdelegate) answers ENOENT where a list of processes
        # that was opened within such a namespace is of a group that does not lie below the namespace's own.
        try:
            syscalls.call("unshare", _CLONE_NEWCGROUP)
        except OSError as error:
            raise LayerFailed("mount_namespace", f"the groups above cannot be hidden: {error}") from error


@dataclass
class Groups:
    """A call's groups as the monitor holds them: by descriptors."""

    folders: dict[str, int] = field(default_factory=dict)  # controller -> descriptor of its folder
    procs: list[int] = field(default_factory=list)  # cgroup.procs of each of `controllers_of`, for writing

    @classmethod
    def open(cls, folders: Mapping[str, str]) -> "Groups":
        """Open what the host made."""
        groups, joined = cls(), controllers_of(folders)
        for controller, path in folders.items():
            try:
                groups.folders[controller] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                if controller in joined:
                    groups.procs.append(os.open(path + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
            except OSError as error:
                raise LayerFailed(LAYER_OF[controller], f"{path}: {error}") from error
        return groups

    def _value(self, controller: str, *names: str) -> str:
        """The first of these files that exists."""
        if controller not in self.folders:
            return ""
        for name in names:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folders[controller])
            except FileNotFoundError:
                continue
            try:
                return os.read(descriptor, 65536).decode()
            finally:
                os.close(descriptor)
        return ""

    def _counter(self, controller: str, key: str, *names: str) -> int:
        for line in self._value(controller, *names).splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
        return 0

    def has(self, controller: str) -> bool:
        """Say whether this controller binds the call."""
        return controller in self.folders

    def oom_kills(self) -> int:
        """How many processes the memory limit killed."""
        return self._counter("memory", "oom_kill", "memory.events", "memory.oom_control")

    def peak_bytes(self) -> int:
        """The most memory that the group used."""
        return int(self._value("memory", "memory.peak", "memory.max_usage_in_bytes") or 0)

    def cpu_seconds(self) -> float:
        """What all processes of the group used, those that have ended too."""
        nanoseconds = self._value("cpu", "cpuacct.usage")
        if nanoseconds:
            return int(nanoseconds) / 1e9
        return self._counter("cpu", "usage_usec", "cpu.stat") / 1e6

    def has_refused_processes(self) -> bool:
        """Say whether a fork met the limit."""
        return self._counter("pids", "max", "pids.events") > 0


def remove(folders: Mapping[str, str]) -> list[str]:
    """Remove the call's groups once their processes are gone; return those that would not go within two seconds."""
    left = sorted(set(folders.values()))
    end = time.monotonic() + _REMOVE_SECONDS
    pause = 0.001
    while left:
        left = [path for path in left if not _try_remove(path)]
        if not left or time.monotonic() > end:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return left


def _try_remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        with contextlib.suppress(OSError):  # version 2 only: ends what a lost monitor left
            _write(path + "/cgroup.kill", "1")
        return False
    return True
