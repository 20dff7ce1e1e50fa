"""System calls that Python's standard library does not offer, by their names.

`call` knows no meanings: it finds the number for this machine and turns the kernel's error into OSError. A machine that is
not in the table is refused when this module is imported, because a filter could not be built for it either.
"""

import ctypes
import os
from typing import Any, Final, TypeAlias

from plugin_sandbox.inner.syscall_table import NUMBERS

Argument: TypeAlias = Any  # int, bytes, None, or a ctypes array, structure reference or buffer: what a register holds

_MACHINE: Final = os.uname().machine
if _MACHINE not in NUMBERS:
    raise ImportError(f"plugin_sandbox: machine {_MACHINE!r} has no table of system calls; known: {', '.join(NUMBERS)}")

#: Numbers of this machine's system calls.
HERE: Final = NUMBERS[_MACHINE]

_libc: Final = ctypes.CDLL(None, use_errno=True)
# Registers are untyped, and conversions that are declared once cost a tenth of those that are made for each call.
_libc.syscall.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 6]
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_NONE: Final = (0,) * 6


def call(name: str, *args: Argument) -> int:
    """Make a system call; raise OSError, or KeyError where this machine has none of that name."""
    result = int(_libc.syscall(HERE[name], *args, *_NONE[len(args) :]))
    if result < 0:
        raise _error(name)
    return result


def prctl(option: int, *args: int) -> int:
    """Call prctl with up to four more arguments; the rest is zero, as it must be."""
    result = int(_libc.prctl(option, *args, *_NONE[2 + len(args) :]))
    if result < 0:
        raise _error("prctl")
    return result


def _error(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}")
