"""System calls that Python's standard library does not offer, by their names.

`call` knows no meanings: it finds the number for this machine and turns the kernel's error into OSError. A machine that is
not in the table is refused when this module is imported, because a filter could not be built for it either.
"""

import ctypes
import os
from typing import Any, Final, TypeAlias

from plugin_sandbox.inner.syscall_table import NUMBERS

Argument: TypeAlias = Any  # int, bytes, None, or a ctypes object, which is passed as it is

_MACHINE: Final = os.uname().machine
if _MACHINE not in NUMBERS:
    raise ImportError(f"plugin_sandbox: machine {_MACHINE!r} has no table of system calls; known: {', '.join(NUMBERS)}")

#: Numbers of this machine's system calls.
HERE: Final = NUMBERS[_MACHINE]

_libc: Final = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: Argument) -> int:
    """Make a system call; raise OSError, or KeyError where this machine has none of that name."""
    result = int(_libc.syscall(ctypes.c_long(HERE[name]), *map(_argument, args)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _argument(value: Argument) -> object:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, bytes):
        return ctypes.c_char_p(value)
    if isinstance(value, int):
        return ctypes.c_ulong(value & 0xFFFF_FFFF_FFFF_FFFF)
    return value


def prctl(option: int, *args: int) -> int:
    """Call prctl with up to four more arguments; the rest is zero, as it must be."""
    return call("prctl", option, *args, *[0] * (4 - len(args)))
