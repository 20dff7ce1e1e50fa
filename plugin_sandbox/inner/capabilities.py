"""Give up every privilege: the bounding set, the identity of root, and all capabilities, for good."""

import ctypes
import errno
import os
import signal
from typing import Final

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import LayerFailed

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 4, 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 38, 39, 47, 4
_VERSION_3: Final = 0x2008_0522
_MOST: Final = 64


def set_no_new_privs() -> None:
    """See to it that no executed file gives privileges; raise LayerFailed."""
    try:
        syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)
        is_set = syscalls.prctl(_PR_GET_NO_NEW_PRIVS)
    except OSError as error:
        raise LayerFailed("no_new_privs", str(error)) from error
    if is_set != 1:
        raise LayerFailed("no_new_privs", "it is not set after it was set")


def drop_bounding_set() -> None:
    """Empty the bounding and the ambient set, as far as this process may: a user namespace's own count for nothing outside."""
    try:
        syscalls.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
        for number in range(_MOST):
            if not _is_in_bounding_set(number):
                break
            syscalls.prctl(_PR_CAPBSET_DROP, number)
    except OSError as error:
        if (
            error.errno != errno.EPERM
        ):  # without CAP_SETPCAP there is nothing that could be dropped, nor gained: no_new_privs
            raise LayerFailed("capabilities", str(error)) from error


def _is_in_bounding_set(number: int) -> bool:
    try:
        syscalls.prctl(_PR_CAPBSET_READ, number)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False  # past the last capability
        raise
    return True


def become(uid: int, gid: int) -> None:
    """Become the slot's user, who owns nothing and is nobody; raise LayerFailed."""
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise LayerFailed("slot_uid", str(error)) from error
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        raise LayerFailed("slot_uid", f"the process is {os.getresuid()} after it became {uid}")
    syscalls.prctl(
        _PR_SET_PDEATHSIG, signal.SIGKILL
    )  # a change of identity clears it; from here on the filter keeps it
    syscalls.prctl(_PR_SET_DUMPABLE, 1)  # its own /proc entries are its own again


def drop_capabilities() -> None:
    """Drop all capabilities, and look whether they are gone; raise LayerFailed."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    try:
        syscalls.call("capset", ctypes.byref(header), ctypes.byref(data))
        left = (ctypes.c_uint32 * 6)(*[1] * 6)
        syscalls.call("capget", ctypes.byref(header), ctypes.byref(left))
    except OSError as error:
        raise LayerFailed("capabilities", str(error)) from error
    if any(left):
        raise LayerFailed("capabilities", "some are left after all were dropped")
