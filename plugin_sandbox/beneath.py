"""Opening below a folder and nowhere else: every path of a tree that somebody hostile has written goes through here."""

import ctypes
import os
from typing import Final

from plugin_sandbox.inner import syscalls

#: RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH
_RESOLVE: Final = 0x02 | 0x04 | 0x08


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open a path below `root` ("" is root itself), through no link; raise OSError."""
    how = _How(flags | os.O_CLOEXEC, mode, _RESOLVE)
    return syscalls.call("openat2", root, os.fsencode(path or "."), ctypes.byref(how), ctypes.sizeof(how))


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
