"""Landlock: which files may be read, written, executed, whatever the mounts say; no TCP; no signals out.

Rules hold for this process and all it makes, and can only be narrowed. What the kernel's ABI cannot restrict is not asked for: the
least that counts is ABI 1, and the seccomp filter closes what an older one leaves (signals, sockets).
"""

import ctypes
import os
from typing import Final

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Box, LayerFailed

_READ: Final = 1 << 2 | 1 << 3  # READ_FILE, READ_DIR
_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
#: WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM, REFER, TRUNCATE; never devices, sockets, fifos.
_WRITE: Final = _WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 14
_FILE_ONLY: Final = _EXECUTE | _WRITE_FILE | 1 << 2 | 1 << 14 | 1 << 15
#: How many file rights each ABI knows, from 1 on.
_FS_BITS: Final = (13, 14, 15, 15, 16)
_TCP: Final = 0b11
_SCOPES: Final = 0b11  # abstract unix sockets, signals

_LOADERS: Final = ("/lib64", "/lib", "/usr/lib", "/usr/lib64")


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def abi() -> int:
    """Return the kernel's ABI, 0 where Landlock is missing or off."""
    try:
        return syscalls.call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def prepare(box: Box) -> int:
    """Return a ruleset that names the box's paths; made while the process may still reach them. Raise LayerFailed."""
    found = abi()
    if found < 1:
        raise LayerFailed("landlock", "the kernel has none, or it is switched off (lsm=)")
    handled = (1 << _FS_BITS[min(found, len(_FS_BITS)) - 1]) - 1
    rules = _Ruleset(handled, _TCP if found >= 4 else 0, _SCOPES if found >= 6 else 0)
    size = 8 if found < 4 else 16 if found < 6 else 24
    try:
        ruleset = syscalls.call("landlock_create_ruleset", ctypes.byref(rules), size, 0)
        for path, rights in _paths(box):
            _add(ruleset, path, rights & handled)
    except OSError as error:
        raise LayerFailed("landlock", str(error)) from error
    return ruleset


def restrict(ruleset: int) -> None:
    """Restrict this process for good; raise LayerFailed."""
    try:
        syscalls.call("landlock_restrict_self", ruleset, 0)
        os.close(ruleset)
    except OSError as error:
        raise LayerFailed("landlock", str(error)) from error


def _paths(box: Box) -> list[tuple[str, int]]:
    if box.tier == "strict":
        readable = ["/"]
    else:
        # Our own package is among the binds; the folder that it lies in may hold anything.
        readable = [*box.sys_path, *box.binds, box.package]
        readable += [*_LOADERS, "/dev/urandom", "/dev/zero", "/proc/self", "/usr/share/zoneinfo"]
    paths = [(path, _READ) for path in readable]
    paths += [("/dev/null", _READ | _WRITE_FILE), (box.work, _READ | _WRITE), (box.tmp, _READ | _WRITE)]
    paths += [(path, _READ | _EXECUTE) for path in box.programs]
    if box.programs:
        paths += [(path, _READ | _EXECUTE) for path in _LOADERS]
    return paths


def _add(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # what is not there cannot be reached either
    try:
        if not os.path.isdir(path):
            rights &= _FILE_ONLY
        syscalls.call("landlock_add_rule", ruleset, 1, ctypes.byref(_Beneath(rights, opened)), 0)
    finally:
        os.close(opened)
