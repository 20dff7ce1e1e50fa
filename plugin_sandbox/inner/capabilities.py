"""Give up every privilege: the bounding set, the identity of root, and all capabilities, for good.

Each step is looked at after it was made. The order among them, and against the other layers, is lockdown.py's.
"""

import ctypes
import errno
import os
import signal
from typing import Final

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import LayerFailed

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 38, 39, 47, 4
_VERSION_3: Final = 0x2008_0522
_MOST: Final = 64
_SETPCAP: Final = 8

#: Effective, permitted and inheritable capabilities, each as a set of bits.
Sets = tuple[int, int, int]


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
    """Empty the bounding and the ambient set; raise LayerFailed.

    Who has not CAP_SETPCAP cannot drop them, nor gain from them what it has not: no_new_privs is set before.
    """
    try:
        syscalls.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
        if not get_sets()[0] & 1 << _SETPCAP:
            return
        for number in range(_MOST):
            try:
                syscalls.prctl(_PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno == errno.EINVAL and number:
                    return  # past the last capability
                raise
            if syscalls.prctl(_PR_CAPBSET_READ, number):
                raise LayerFailed("capabilities", f"capability {number} is in the bounding set after it was dropped")
    except OSError as error:
        raise LayerFailed("capabilities", str(error)) from error


def become(uid: int, gid: int, *, keeps: bool = False) -> None:
    """Become the slot's user, who owns nothing and is nobody; raise LayerFailed. `keeps`: capabilities stay, for now."""
    before = get_sets()
    try:
        os.setgroups([])
        if keeps:
            syscalls.prctl(_PR_SET_KEEPCAPS, 1)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        if keeps:
            _set_sets((before[1], before[1], before[2]))
        # A change of identity clears it; from here on the filter keeps it.
        syscalls.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Its own /proc entries are its own again.
        syscalls.prctl(_PR_SET_DUMPABLE, 1)
    except OSError as error:
        raise LayerFailed("slot_uid", str(error)) from error
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        raise LayerFailed("slot_uid", f"the process is {os.getresuid()} after it became {uid}")


def drop_capabilities() -> None:
    """Drop all capabilities, and look whether they are gone; raise LayerFailed."""
    try:
        _set_sets((0, 0, 0))
        left = get_sets()
    except OSError as error:
        raise LayerFailed("capabilities", str(error)) from error
    if any(left):
        raise LayerFailed("capabilities", "some are left after all were dropped")


def get_sets() -> Sets:
    """Return this process's capabilities."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    words = (ctypes.c_uint32 * 6)(*[0xFFFF_FFFF] * 6)  # what is not answered counts as had
    syscalls.call("capget", ctypes.byref(header), ctypes.byref(words))
    effective, permitted, inheritable = (words[place] | words[place + 3] << 32 for place in range(3))
    return effective, permitted, inheritable


def _set_sets(sets: Sets) -> None:
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    words = [one & 0xFFFF_FFFF for one in sets] + [one >> 32 for one in sets]
    syscalls.call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(*words)))
