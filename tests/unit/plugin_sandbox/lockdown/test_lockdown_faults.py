"""A layer that cannot be installed, or only says that it is, refuses the run; a layer that is off leaves all others on."""

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.box import LAYERS, Box
from tests.unit.plugin_sandbox.lockdown.users import SLOT, as_root

OWN = ("rlimits", "no_new_privs", "slot_uid", "capabilities", "landlock", "seccomp")


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def break_call(name: str, answer: int, *, argument: int = 0, value: int | None = None) -> Callable[[], None]:
    """Let the kernel itself answer a call so: with an error's number, or with 0, a success that is a lie.

    `value`: only where that argument is this; -1: where it is not zero.
    """

    def install() -> None:
        checks = [(0x20, 0, 0, 0), (0x15, 0, 3, syscalls.HERE[name]), (0x20, 0, 0, 16 + 8 * argument)]
        if value is None:
            checks += [(0x15, 0, 0, 0)]
        elif value < 0:
            checks += [(0x15, 1, 0, 0)]
        else:
            checks += [(0x15, 0, 1, value)]
        checks += [(0x06, 0, 0, 0x0005_0000 | answer), (0x06, 0, 0, 0x7FFF_0000)]
        checks[1] = (0x15, 0, 3, syscalls.HERE[name])
        code = b"".join(struct.pack("=HBBI", *one) for one in checks)
        shape = _Filter(len(checks), code)
        syscalls.call("seccomp", 1, 0, ctypes.byref(shape))

    return install


@as_root
@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        ("rlimits", break_call("prlimit64", errno.EPERM)),
        ("rlimits", break_call("prlimit64", 0, argument=2, value=-1)),
        ("no_new_privs", break_call("prctl", errno.EPERM, value=38)),
        ("no_new_privs", break_call("prctl", 0, value=38)),
        ("slot_uid", break_call("setgroups", errno.EPERM)),
        ("slot_uid", break_call("setresgid", errno.EPERM)),
        ("slot_uid", break_call("setresuid", errno.EPERM)),
        ("slot_uid", break_call("setresgid", 0)),
        ("slot_uid", break_call("setresuid", 0)),
        ("slot_uid", break_call("prctl", errno.EPERM, value=1)),
        ("capabilities", break_call("prctl", errno.EPERM, value=24)),
        ("capabilities", break_call("prctl", 0, value=24)),
        ("capabilities", break_call("prctl", errno.EINVAL, value=47)),
        ("capabilities", break_call("capset", errno.EPERM)),
        ("landlock", break_call("landlock_create_ruleset", errno.ENOSYS)),
        ("landlock", break_call("landlock_add_rule", errno.ENOMEM)),
        ("landlock", break_call("landlock_restrict_self", errno.E2BIG)),
        ("landlock", break_call("landlock_restrict_self", 0)),
        ("seccomp", break_call("seccomp", errno.EINVAL)),
        ("seccomp", break_call("seccomp", 0)),
    ],
)
def test_a_layer_that_fails_or_lies_is_named(layer: str, fault: Any, make_box: Any, run_child: Any) -> None:
    """Nothing of a plugin runs in a box that only seems closed."""
    found = run_child(make_box(uid=SLOT, gid=SLOT), None, before=fault)

    assert found["failed"] == layer, found


@as_root
def test_capabilities_that_stay_although_they_were_dropped_are_noticed(make_box: Any, run_child: Any) -> None:
    """Without a slot nothing else takes them away."""
    found = run_child(make_box(), None, before=break_call("capset", 0))

    assert found["failed"] == "capabilities"


@as_root
def test_without_a_fault_all_layers_are_on(make_box: Any, run_child: Any) -> None:
    """The control of the test above."""
    assert run_child(make_box(uid=SLOT, gid=SLOT), None) == dict.fromkeys(OWN, "on")


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"memory_bytes": 2**70}, "rlimits"),
        ({"package": "/nowhere/at/all"}, "landlock"),
        ({"programs": ("/nowhere/at/all",)}, "landlock"),
        ({"programs": ("/dev/null",)}, "landlock"),
        ({"work": "/nowhere/work"}, "landlock"),
        ({"proxy": "/run/proxy.socket"}, "seccomp"),
    ],
)
def test_a_box_that_cannot_be_closed_is_refused(changes: Any, layer: str, make_box: Any, run_child: Any) -> None:
    """A path that is missing is no smaller box; a proxy without a mount namespace would open every socket of the host."""
    found = run_child(make_box(**changes), None)

    assert found["failed"] == layer, found


def _look(box: Box) -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    try:
        (Path(box.package).parent / "outside" / "canary").read_text()
        reads = True
    except OSError:
        reads = False
    return {
        "rlimits": resource.getrlimit(resource.RLIMIT_NOFILE) == (box.limits.open_files,) * 2,
        "no_new_privs": status["NoNewPrivs"] == "1",
        "slot_uid": os.getuid() == SLOT,
        "capabilities": int(status["CapEff"], 16) == 0,
        "landlock": not reads,
        "seccomp": status["Seccomp"] == "2",
    }


@as_root
@pytest.mark.parametrize("layer", ["rlimits", "no_new_privs", "slot_uid", "capabilities", "landlock", "seccomp"])
def test_a_layer_that_is_off_leaves_the_others_on(layer: str, make_box: Any, run_child: Any) -> None:
    """The attack suite switches off the one that stops an attack, and no other."""
    ids = {} if layer == "slot_uid" else {"uid": SLOT, "gid": SLOT}

    found = run_child(make_box(off=(layer,), **ids), _look)

    assert found == {name: name != layer for name in OWN}


@as_root
def test_a_layer_that_is_off_is_said_to_be_off(make_box: Any, run_child: Any) -> None:
    """What an entry reports as missing is taken from this."""
    found = run_child(make_box(uid=SLOT, gid=SLOT, off=LAYERS), None)

    assert found == dict.fromkeys(OWN, "off")
