"""Every layer that cannot be installed is a refusal that names it: shown by letting its system call fail."""

import errno
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.boxes import plan_box
from plugin_sandbox.conversation import Stop, Talk, hold_talk
from plugin_sandbox.inner import monitor, namespaces, syscalls
from plugin_sandbox.inner.box import LAYERS, Box, Ground, LayerFailed
from plugin_sandbox.inner.inbox import Inboxes
from plugin_sandbox.model import Limits
from plugin_sandbox.zygote import Interpreter

ROOT = Path(__file__).parents[4]
_INTERPRETER = Interpreter.ask(sys.executable)


def build_box(tmp_path: Path) -> Box:
    """Describe a box of the strict tier."""
    package, workspace = tmp_path / "package", tmp_path / "workspace"
    package.mkdir()
    workspace.mkdir()
    (package / "__init__.py").write_text("")
    return plan_box(
        call_id=secrets.token_hex(4),
        tier="strict",
        limits=Limits(timeout_seconds=3),
        workspace=workspace,
        package=package,
        programs=(),
        interpreter=_INTERPRETER,
        slot_uid=60_999 if os.geteuid() == 0 else None,
        groups={},
        off=(),
    )


def talk_with_fault(box: Box, number: int | None) -> Talk:
    """Serve the box in a process of its own, in which the system calls of that fault answer EPERM; None: no fault.

    A fresh one: what other tests have imported may start threads in a fork of this one, and a process with threads
    enters no user namespace.
    """
    children: list[subprocess.Popen[bytes]] = []

    def send(message: bytes, fds: list[int]) -> None:
        code = f"from {__name__} import serve; serve({number}, {fds})"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=fds, cwd=ROOT)
        children.append(child)
        assert child.stdin is not None
        child.stdin.write(message)
        child.stdin.close()

    halt = Stop()
    try:
        return hold_talk(box, b"{}", send, halt)
    finally:
        halt.close()
        for child in children:
            child.wait()


def serve(number: int | None, fds: list[int]) -> None:
    """Serve the box whose description comes over the standard input, with a fault; `fds` are its files."""
    message = sys.stdin.buffer.read()
    is_refused = (lambda name, args: False) if number is None else FAULTS[number][0]
    real, real_prctl = syscalls.call, syscalls.prctl

    def refuse(name: str, args: tuple[Any, ...]) -> None:
        if is_refused(name, args):
            raise OSError(errno.EPERM, f"{name}: refused by the test")

    def call(name: str, *args: Any) -> int:
        refuse(name, args)
        return real(name, *args)

    def prctl(option: int, *args: int) -> int:
        refuse("prctl", (option, *args))
        return real_prctl(option, *args)

    syscalls.call, syscalls.prctl = call, prctl
    try:
        box = Box.from_json(message)
        ground, spaces = Ground.of(box), namespaces.UserNamespaces()
        user_namespace = monitor.keep_user_namespace(ground, spaces)
        ours, theirs = Inboxes.pair()
        ours.send(message, fds, monitor.clone_call(box, spaces))
        monitor.serve(ground, theirs, user_namespace, parent=None)
    except LayerFailed as failed:
        monitor._say(socket.socket(fileno=fds[-1]), {"event": "refused", "layer": failed.layer, "error": str(failed)})
    finally:
        os._exit(0)


def mounts_of(kind: bytes) -> Callable[[str, tuple[Any, ...]], bool]:
    """Refuse mounts of a file system."""
    return lambda name, args: name == "mount" and args[2] == kind


def named(wanted: str) -> Callable[[str, tuple[Any, ...]], bool]:
    """Refuse a system call."""
    return lambda name, args: name == wanted


def unshares(flag: int) -> Callable[[str, tuple[Any, ...]], bool]:
    """Refuse a namespace."""
    return lambda name, args: name == "unshare" and bool(args[0] & flag)


FAULTS = [
    (unshares(namespaces.CLONE_NEWNS), "mount_namespace"),
    (unshares(namespaces.CLONE_NEWPID), "pid_namespace"),
    (unshares(namespaces.CLONE_NEWNET), "network_namespace"),
    (unshares(namespaces.CLONE_NEWIPC), "ipc_namespace"),
    (unshares(namespaces.CLONE_NEWUTS), "uts_namespace"),
    (unshares(namespaces.CLONE_NEWUSER), "user_namespace"),
    (named("sethostname"), "uts_namespace"),
    (mounts_of(b"overlay"), "overlay"),
    (mounts_of(b"proc"), "pid_namespace"),
    (named("open_tree"), "read_only_root"),
    (named("mount_setattr"), "read_only_root"),
    (named("pivot_root"), "mount_namespace"),
    (named("close_range"), "closed_fds"),
    (lambda name, args: name == "mount" and b"nr_inodes" in (args[4] or b"") and args[3] & 0x20, "disk_quota"),
    (lambda name, args: name == "prctl" and args[0] == 38, "no_new_privs"),
    (named("capset"), "capabilities"),
    (named("landlock_create_ruleset"), "landlock"),
    (named("landlock_restrict_self"), "landlock"),
    (named("seccomp"), "seccomp"),
]


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[f"{n}-{layer}" for n, (_, layer) in enumerate(FAULTS)])
def test_a_layer_that_cannot_be_installed_is_refused_by_name(tmp_path: Path, number: int) -> None:
    """Fail closed: nothing of the plugin has run, and the operator learns what is missing."""
    layer = FAULTS[number][1]

    talk = talk_with_fault(build_box(tmp_path), number)

    assert talk.refused is not None, talk
    assert talk.refused[0] == layer, talk.refused
    assert talk.ended is None
    assert talk.result == b""
    talk.close()


def test_every_layer_has_its_fault() -> None:
    """A layer that is added needs a way to fail: here, in the lock-down's own faults, or among the groups and parts."""
    elsewhere = {"rlimits", "slot_uid", "memory_cgroup", "pids_cgroup", "cpu_cgroup", "watchdog"}

    assert {layer for _, layer in FAULTS} | elsewhere == set(LAYERS)


def test_without_a_fault_the_same_box_is_built(tmp_path: Path) -> None:
    """The positive control of the table above."""
    talk = talk_with_fault(build_box(tmp_path), None)

    assert talk.refused is None, talk
    assert {talk.layers[name] for name in ("overlay", "seccomp", "landlock", "disk_quota", "pid_namespace")} == {"on"}
    assert talk.ended is not None
    talk.close()
