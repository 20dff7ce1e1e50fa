"""Builds what a plugin sees of the file system: a small read-only tree, its workspace, a private /tmp, /dev and /proc.

What is taken over from the host is cloned first (`Trees`), while the host's tree is in view and root still is root; it is attached
in the new mount namespace afterwards (`build_root`). Mount points are made only in the fresh tmpfs, never in a directory that
a plugin has touched.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Box, LayerFailed

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 0x4

_ATTR_RDONLY = 0x1
_ATTR_NOSUID = 0x2
_ATTR_NODEV = 0x4
_ATTR_NOEXEC = 0x8
_ATTR_IDMAP = 0x10_0000

_MS_RDONLY = 0x1
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_NOEXEC = 0x8
_MS_REMOUNT = 0x20
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 0x2

LAYERS = ("read_only_root", "overlay", "disk_quota")

#: Where the new root is built: any directory that every host has, hidden in our own mount namespace alone.
_STAGE = "/tmp"

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

#: A file system that is full to a page is full: the plugin's last write was refused.
_PAGE = 4096


@dataclass
class Trees:
    """Mounts cloned from the host, detached as yet: target inside -> descriptor."""

    binds: dict[str, int] = field(default_factory=dict)
    workspace: int = -1

    def close(self) -> None:
        """Give back what was not attached."""
        for descriptor in (*self.binds.values(), self.workspace):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def clone_trees(box: Box, idmap: int | None) -> Trees:
    """Clone everything that the box shows of the host, read-only; the workspace with its owner mapped to the slot."""
    trees = Trees()
    for path in _outermost((*box.sys_path, *box.binds, *box.programs, box.package)):
        trees.binds[path] = _clone(path, "read_only_root", 0 if _may_write(box, path) else _ATTR_RDONLY)
    for path in _DEVICES:
        trees.binds[path] = _clone(path, "read_only_root", _ATTR_NOEXEC, nodev=False)
    if box.proxy:
        trees.binds[box.proxy] = _clone(box.proxy, "network_namespace", _ATTR_NOEXEC)
    flags = 0 if "overlay" in box.off else _ATTR_RDONLY
    trees.workspace = _clone(box.workspace, "overlay", flags, idmap=idmap)
    return trees


def _may_write(box: Box, path: str) -> bool:
    return "read_only_root" in box.off and path == box.package


def _outermost(paths: tuple[str, ...]) -> Iterator[str]:
    """Leave out what lies in a directory that is bound anyway."""
    seen: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if not any(path == other or path.startswith(other + "/") for other in seen):
            seen.append(path)
            yield path


def _clone(path: str, layer: str, flags: int, *, nodev: bool = True, idmap: int | None = None) -> int:
    try:
        flags |= _ATTR_NOSUID | (_ATTR_NODEV if nodev else 0)
        try:
            tree = syscalls.call("open_tree", _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
            deep = 0
        except OSError:
            # What the host mounted below it is locked to it in our namespace: then all of it, or nothing.
            deep = _AT_RECURSIVE
            tree = syscalls.call(
                "open_tree", _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | deep
            )
        attributes = struct.pack("QQQQ", flags | (_ATTR_IDMAP if idmap else 0), 0, 0, idmap or 0)
        syscalls.call("mount_setattr", tree, b"", _AT_EMPTY_PATH | deep, attributes, len(attributes))
    except OSError as error:
        raise LayerFailed(layer, f"bind of {path}: {error}") from error
    return tree


def make_private() -> None:
    """Let nothing that is mounted from here on reach the host, nor the host's changes reach us."""
    _mount("mount_namespace", b"none", "/", None, _MS_REC | _MS_PRIVATE)


def build_root(box: Box, trees: Trees, owner: tuple[int, int]) -> int:
    """Assemble the tree at the stage; return a descriptor of the changes' root, or -1 if the box has no overlay.

    owner: who the plugin will be, as this namespace numbers it.
    """
    _mount("mount_namespace", b"tmpfs", _STAGE, b"tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,nr_inodes=2048,mode=755")
    changes = _build_workspace(box, trees, owner)
    _link_merged_usr()
    os.makedirs(_STAGE + "/proc", exist_ok=True)
    if "read_only_root" not in box.off:
        attributes = struct.pack("QQQQ", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
        _call("read_only_root", "mount_setattr", _AT_FDCWD, _STAGE.encode(), 0, attributes, len(attributes))
    return changes


def _link_merged_usr() -> None:
    """/lib -> usr/lib and its like, where the host has them so: the dynamic loader's own path starts there."""
    for name in ("lib", "lib64", "lib32"):
        if os.path.islink("/" + name) and not os.path.lexists(f"{_STAGE}/{name}"):
            os.symlink(os.readlink("/" + name), f"{_STAGE}/{name}")


def _build_workspace(box: Box, trees: Trees, owner: tuple[int, int]) -> int:
    quota = _STAGE + "/.quota"
    os.mkdir(quota)
    _mount("disk_quota", b"tmpfs", quota, b"tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for name, mode in (("upper", 0o755), ("work", 0o755), ("tmp", 0o700)):
        os.mkdir(f"{quota}/{name}", mode)
    shape = os.fstat(trees.workspace)
    os.chmod(quota + "/upper", stat.S_IMODE(shape.st_mode) & 0o777 | 0o700)
    for name in ("upper", "tmp"):
        os.chown(f"{quota}/{name}", *owner)
    tmp = _clone(quota + "/tmp", "disk_quota", 0)
    _attach("/tmp", tmp, "disk_quota")
    for path, tree in trees.binds.items():  # after /tmp: some of them may lie below it
        _attach(path, tree, "read_only_root")
    work = _STAGE + box.work
    changes = -1
    if "overlay" in box.off:
        _attach(box.work, trees.workspace, "overlay")
    else:
        os.makedirs(work, exist_ok=True)
        _attach("/.lower", trees.workspace, "overlay")
        options = f"userxattr,lowerdir={_STAGE}/.lower,upperdir={quota}/upper,workdir={quota}/work"
        _mount("overlay", b"overlay", work, b"overlay", _MS_NOSUID | _MS_NODEV, options)
        changes = os.open(quota + "/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _detach(_STAGE + "/.lower", "overlay")
    _limit(box, quota)
    _detach(quota, "disk_quota")
    return changes


def _limit(box: Box, quota: str) -> None:
    """Set the quota, when what is ours is in it: all that the manifest names is the plugin's."""
    size, inodes = box.limits.disk_bytes, box.limits.inodes
    if "disk_quota" in box.off:  # still bounded: a run without this layer shall not hurt its host
        size, inodes = size * 8, inodes * 8
    shape = os.statvfs(quota)
    inodes += shape.f_files - shape.f_ffree
    flags = _MS_REMOUNT | _MS_NOSUID | _MS_NODEV
    _mount("disk_quota", b"tmpfs", quota, b"tmpfs", flags, f"size={size},nr_inodes={inodes}")


def _attach(path: str, tree: int, layer: str) -> None:
    """Move a cloned mount to its place inside; the place is of its kind: a directory, or a file."""
    target = _STAGE + path
    try:
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        syscalls.call("move_mount", tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
        os.close(tree)
    except OSError as error:
        raise LayerFailed(layer, f"mount of {path}: {error}") from error


def _detach(path: str, layer: str) -> None:
    _call(layer, "umount2", path.encode(), _MNT_DETACH)
    os.rmdir(path)


def enter_root(box: Box) -> None:
    """In the plugin's process: give it a /proc of its own pid namespace, and leave the host's tree behind."""
    if "pid_namespace" not in box.off:
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount("pid_namespace", b"proc", _STAGE + "/proc", b"proc", flags, "subset=pid")
    os.chdir(_STAGE)
    # The new root over the old one, then the old one away: no directory for it is needed inside.
    _call("mount_namespace", "pivot_root", b".", b".")
    _call("mount_namespace", "umount2", b".", _MNT_DETACH)
    os.chdir(box.work)


def is_full(changes: int) -> bool:
    """Say whether the quota's file system has no byte or no inode left."""
    left = os.fstatvfs(changes)
    return left.f_bavail * left.f_frsize < _PAGE or left.f_favail == 0


def _mount(layer: str, source: bytes, target: str, kind: bytes | None, flags: int, options: str | None = None) -> None:
    _call(layer, "mount", source, target.encode(), kind, flags, options.encode() if options else None)


def _call(layer: str, name: str, *args: object) -> int:
    try:
        return syscalls.call(name, *args)
    except OSError as error:
        raise LayerFailed(layer, f"{name}: {error}") from error
