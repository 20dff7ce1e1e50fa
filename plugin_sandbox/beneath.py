"""Opening below a folder and nowhere else: every path of a tree that somebody hostile has written goes through here."""

import ctypes
import errno
import os
import stat
from typing import Final

from plugin_sandbox.inner import syscalls

#: RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH
_RESOLVE: Final = 0x02 | 0x04 | 0x08


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open a path below `root` ("" is root itself), through no link; raise OSError.

    Where a filter hides openat2, as systemd's does for each unit with DynamicUser= or RestrictSUIDSGID=, step by step.
    """
    how = _How(flags | os.O_CLOEXEC, mode, _RESOLVE)
    try:
        return syscalls.call("openat2", root, os.fsencode(path or "."), ctypes.byref(how), ctypes.sizeof(how))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    return _walk(root, path, flags, mode)


def _walk(root: int, path: str, flags: int, mode: int) -> int:
    names = [name for name in path.split("/") if name not in {"", "."}]
    if path.startswith("/") or ".." in names:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    here = os.open(".", os.O_PATH, dir_fd=root)
    try:
        for name in names[:-1]:
            above, here = here, _step(here, name, os.O_PATH)
            os.close(above)
        return _step(here, names[-1], flags, mode) if names else os.open(".", flags, mode, dir_fd=here)
    finally:
        os.close(here)


def _step(folder: int, name: str, flags: int, mode: int = 0) -> int:
    """Open a name of a folder, unless it is a link."""
    link = OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    try:
        opened = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise link from None  # who asks for a folder is told the same
        raise
    if stat.S_ISLNK(os.fstat(opened).st_mode):
        os.close(opened)
        raise link
    return opened


def stat_beneath(root: int, path: str) -> os.stat_result | None:
    """Return what lies at a path below `root`, following no link; None where nothing does."""
    folder, _, name = path.rpartition("/")
    try:
        parent = open_beneath(root, folder, os.O_PATH | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)
