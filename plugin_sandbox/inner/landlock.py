"""Landlock: which files may be read, written, executed, whatever the mounts say; no TCP; no signals out.

Rules hold for this process and all it makes, and can only be narrowed. What the kernel's ABI cannot restrict is not asked for: the
least that counts is ABI 1, and the seccomp filter closes what an older one leaves (signals, sockets, truncating).
"""

import ctypes
import errno
import os
import stat
import struct
from functools import lru_cache
from typing import Final

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import Box, Ground, LayerFailed

#: The ABI that can tell truncating a file from reading it.
ABI_TRUNCATE: Final = 3

_READ_DIR: Final = 1 << 3
_READ: Final = 1 << 2 | _READ_DIR  # READ_FILE, READ_DIR
_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
#: WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM, REFER, TRUNCATE; never devices, sockets, fifos.
_WRITE: Final = _WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 14
_FILE_ONLY: Final = _EXECUTE | _WRITE_FILE | 1 << 2 | 1 << 14 | 1 << 15
#: How many file rights each ABI knows, from 1 on.
_FS_BITS: Final = (13, 14, 15, 15, 16)
_TCP: Final = 0b11
_SCOPES: Final = 0b11  # abstract unix sockets, signals

#: Read where they are: not every host has each.
_SYSTEM: Final = (
    *("/lib64", "/lib", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)
#: Of this very process, where the host's /proc is in sight: never `net`, which lists every socket of the host, nor its mounts.
_OWN_PROC: Final = tuple(f"/proc/self/{name}" for name in ("fd", "limits", "maps", "stat", "statm", "status"))
_HEAD_BYTES: Final = 65_536
_PT_INTERP: Final = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


@lru_cache(maxsize=1)
def abi() -> int:
    """Return the kernel's ABI, 0 where Landlock is missing or off."""
    try:
        return syscalls.call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def prepare(ground: Ground, root: str = "") -> int:
    """Return a ruleset that names what every box of this ground shows; raise LayerFailed.

    root: below which all of it lies as yet. A rule holds for a file, not for a path, and so wherever the file is seen later.
    """
    found = abi()
    if found < 1:
        raise LayerFailed("landlock", "the kernel has none, or it is switched off (lsm=)")
    handled = _handled(found)
    rules = _Ruleset(handled, _TCP if found >= 4 else 0, _SCOPES if found >= 6 else 0)
    size = 8 if found < 4 else 16 if found < 6 else 24
    try:
        ruleset = syscalls.call("landlock_create_ruleset", ctypes.byref(rules), size, 0)
        for path, rights in _needed(ground).items():
            _add(ruleset, root + path, rights & handled)
        for path, rights in _where_there(ground).items():
            if os.path.exists(root + path):
                _add(ruleset, root + path, rights & handled)
    except OSError as error:
        raise _failed(error) from error
    return ruleset


def complete(ruleset: int, box: Box) -> None:
    """Add what is the call's own, while the process may still reach it; raise LayerFailed."""
    handled = _handled(abi())
    try:
        for path, rights in _own(box).items():
            _add(ruleset, path, rights & handled)
    except OSError as error:
        raise _failed(error) from error


def _handled(found: int) -> int:
    """The file rights that the kernel's ABI knows."""
    return (1 << _FS_BITS[min(found, len(_FS_BITS)) - 1]) - 1


def _failed(error: OSError) -> LayerFailed:
    where = f"{error.filename}: " if error.filename else ""
    return LayerFailed("landlock", f"{where}{error.strerror}")


def restrict(ruleset: int) -> None:
    """Restrict this process for good, and look whether it is; raise LayerFailed."""
    try:
        syscalls.call("landlock_restrict_self", ruleset, 0)
        os.close(ruleset)
    except OSError as error:
        raise LayerFailed("landlock", str(error)) from error
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EACCES:
            return
    raise LayerFailed("landlock", "the root directory can still be read")


def _needed(ground: Ground) -> dict[str, int]:
    """What must be there: a path that is missing is a refusal, not a smaller box."""
    # Our own package is among the binds; the folder that it lies in may hold anything.
    return {**dict.fromkeys((*ground.sys_path, *ground.binds), _READ), "/dev/null": _READ | _WRITE_FILE}


def _own(box: Box) -> dict[str, int]:
    """What must be there, too, and is another one with each call."""
    rights = {box.package: _READ, box.work: _READ | _WRITE, box.tmp: _READ | _WRITE}
    for path in box.programs:
        rights[path] = rights.get(path, 0) | _READ | _EXECUTE
        for loader in _loaders(path):
            rights[loader] = rights.get(loader, 0) | _READ | _EXECUTE
    return rights


def _where_there(ground: Ground) -> dict[str, int]:
    rights = dict.fromkeys(_SYSTEM, _READ)
    if ground.tier == "strict":
        return {**rights, "/proc": _READ, "/dev": _READ_DIR}  # both show the box alone
    return {**rights, **dict.fromkeys(_OWN_PROC, _READ)}


def _loaders(path: str, *, is_script_allowed: bool = True) -> list[str]:
    """Return what the kernel itself opens to execute a file: its dynamic loader, or a script's interpreter and that one's loader."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"#!") and is_script_allowed:
        words = head[2:].split(b"\n", 1)[0].split()
        interpreter = os.fsdecode(words[0]) if words else ""
        if not interpreter.startswith("/"):
            raise OSError(errno.ENOEXEC, "its first line names no absolute interpreter", path)
        return [interpreter, *_loaders(interpreter, is_script_allowed=False)]
    if not head.startswith(b"\x7fELF\x02\x01"):
        raise OSError(errno.ENOEXEC, "is neither a 64-bit program of this machine nor a script", path)
    try:
        return _elf_loader(head)
    except (struct.error, ValueError) as error:
        raise OSError(errno.ENOEXEC, f"its headers are damaged: {error}", path) from error


def _elf_loader(head: bytes) -> list[str]:
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    for place in range(table, table + size * count, max(size, 56)):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, place)
        if kind == _PT_INTERP:
            name = head[offset : offset + length].rstrip(b"\0")
            if not name.startswith(b"/"):
                raise ValueError("its loader is not in its first part")
            return [os.fsdecode(name)]
    return []  # linked statically


def _add(ruleset: int, path: str, rights: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _FILE_ONLY
        syscalls.call("landlock_add_rule", ruleset, 1, ctypes.byref(_Beneath(rights, opened)), 0)
    finally:
        os.close(opened)
