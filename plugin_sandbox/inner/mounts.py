"""Builds what a plugin sees of the file system: a small read-only tree, its workspace, a private /tmp, /dev and /proc.

What is taken over from the host is cloned first, while the host's tree is in view and root still is root; it is attached in the new
mount namespace afterwards. Two parts: the ground, which is the same for many calls and may be laid ahead of one (`clone_ground`,
`lay_ground`), and what is the call's own: its package, its programs, its workspace, its quota (`clone_call`, `finish`). Mount points
are made only in the fresh tmpfs, never in a directory that a plugin has touched.
"""

import os
import stat
import struct
from collections.abc import Iterable, Iterator

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Box, Ground, LayerFailed

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

#: The file system of all that a plugin writes: hidden in our own mount namespace alone, over a directory that every host has and
#: nothing of a call lies in. The new root is built in it, so that what is around it goes away with the host's tree, at once.
_QUOTA = "/proc"
STAGE = _QUOTA + "/root"

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

#: A file system that is full to a page is full: the plugin's last write was refused.
_PAGE = 4096


def clone_ground(ground: Ground) -> dict[str, int]:
    """Clone what every box of this ground shows of the host, read-only: path -> descriptor of the detached mount."""
    trees = {
        path: _clone(path, "read_only_root", _ATTR_RDONLY) for path in _outermost((*ground.sys_path, *ground.binds))
    }
    for path in _DEVICES:
        trees[path] = _clone(path, "read_only_root", _ATTR_NOEXEC, nodev=False)
    return trees


def paths_of(box: Box) -> tuple[str, ...]:
    """Return what the call itself shows of the host, in the order in which it is mounted; the workspace is the last."""
    shown = tuple(os.path.normpath(path) for path in (*box.sys_path, *box.binds))
    own = (
        path for path in _outermost((box.package, *box.programs)) if not any(_is_below(path, other) for other in shown)
    )
    return (*own, *((box.proxy,) if box.proxy else ()), box.workspace)


def clone_call(box: Box, idmap: int | None) -> list[int]:
    """Clone the `paths_of` the call, read-only; the workspace with its owner mapped to the slot."""
    trees: list[int] = []
    try:
        for path in paths_of(box)[:-1]:
            layer, flags = "read_only_root", 0 if "read_only_root" in box.off and path == box.package else _ATTR_RDONLY
            if path == box.proxy:
                layer, flags = "network_namespace", _ATTR_NOEXEC
            trees.append(_clone(path, layer, flags))
        trees.append(_clone(box.workspace, "overlay", 0 if "overlay" in box.off else _ATTR_RDONLY, idmap=idmap))
    except LayerFailed:
        close_all(trees)
        raise
    return trees


def close_all(trees: Iterable[int]) -> None:
    """Give back mounts that were not attached."""
    for descriptor in trees:
        os.close(descriptor)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _outermost(paths: Iterable[str]) -> Iterator[str]:
    """Leave out what lies in a directory that is bound anyway."""
    seen: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if not any(_is_below(path, other) for other in seen):
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


def lay_ground(trees: dict[str, int], owner: tuple[int, int]) -> None:
    """Assemble at the stage what is the same for every call; the rest is added by `finish`.

    owner: who the plugin will be, as this namespace numbers it.
    """
    _mount("disk_quota", b"tmpfs", _QUOTA, b"tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for name, mode in (("root", 0o755), ("lower", 0o755), ("upper", 0o755), ("work", 0o755), ("tmp", 0o700)):
        os.mkdir(f"{_QUOTA}/{name}", mode)
    _mount("mount_namespace", b"tmpfs", STAGE, b"tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,nr_inodes=2048,mode=755")
    for name in ("upper", "tmp"):
        os.chown(f"{_QUOTA}/{name}", *owner)
    _attach("/tmp", _clone(_QUOTA + "/tmp", "disk_quota", 0), "disk_quota")
    for path, tree in trees.items():  # after /tmp: some of them may lie below it
        _attach(path, tree, "read_only_root")
    _link_merged_usr()
    os.makedirs(STAGE + "/proc", exist_ok=True)


def _link_merged_usr() -> None:
    """/lib -> usr/lib and its like, where the host has them so: the dynamic loader's own path starts there."""
    for name in ("lib", "lib64", "lib32"):
        if os.path.islink("/" + name) and not os.path.lexists(f"{STAGE}/{name}"):
            os.symlink(os.readlink("/" + name), f"{STAGE}/{name}")


def open_changes(ground: Ground) -> int:
    """Return a descriptor of the changes' root, or -1 without an overlay."""
    return -1 if "overlay" in ground.off else os.open(_QUOTA + "/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def finish(box: Box, trees: list[int]) -> None:
    """In the plugin's process: add what is the call's own, and close the tree."""
    *own, workspace = trees
    for path, tree in zip(paths_of(box)[:-1], own, strict=True):
        _attach(path, tree, "read_only_root")
    _lay_workspace(box, workspace)
    _limit(box)
    if "read_only_root" not in box.off:
        attributes = struct.pack("QQQQ", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
        _call("read_only_root", "mount_setattr", _AT_FDCWD, STAGE.encode(), 0, attributes, len(attributes))


def _lay_workspace(box: Box, tree: int) -> None:
    if "overlay" in box.off:
        _attach(box.work, tree, "overlay")
        return
    os.chmod(_QUOTA + "/upper", stat.S_IMODE(os.fstat(tree).st_mode) & 0o777 | 0o700)
    work = STAGE + box.work
    os.makedirs(work, exist_ok=True)
    _move(tree, _QUOTA + "/lower", "overlay")
    options = f"userxattr,lowerdir={_QUOTA}/lower,upperdir={_QUOTA}/upper,workdir={_QUOTA}/work"
    _mount("overlay", b"overlay", work, b"overlay", _MS_NOSUID | _MS_NODEV, options)


def _limit(box: Box) -> None:
    """Set the quota, when what is ours is in it: all that the manifest names is the plugin's."""
    size, inodes = box.limits.disk_bytes, box.limits.inodes
    if "disk_quota" in box.off:  # still bounded: a run without this layer shall not hurt its host
        size, inodes = size * 8, inodes * 8
    shape = os.statvfs(_QUOTA)
    inodes += shape.f_files - shape.f_ffree
    flags = _MS_REMOUNT | _MS_NOSUID | _MS_NODEV
    _mount("disk_quota", b"tmpfs", _QUOTA, b"tmpfs", flags, f"size={size},nr_inodes={inodes}")


def _attach(path: str, tree: int, layer: str) -> None:
    """Move a cloned mount to its place inside; the place is of its kind: a directory, or a file."""
    target = STAGE + path
    try:
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise LayerFailed(layer, f"place of {path}: {error}") from error
    _move(tree, target, layer)


def _move(tree: int, target: str, layer: str) -> None:
    _call(layer, "move_mount", tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def mount_proc(ground: Ground) -> None:
    """In the plugin's process: a /proc of its own pid namespace."""
    if "pid_namespace" not in ground.off:
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount("pid_namespace", b"proc", STAGE + "/proc", b"proc", flags, "subset=pid")


def enter_root(box: Box) -> None:
    """In the plugin's process: leave the host's tree behind."""
    os.chdir(STAGE)
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
