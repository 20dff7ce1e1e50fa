"""Builds one call's box, starts the plugin in it, watches it, and reports how it ended.

What most calls have in common it builds before it knows its call: namespaces, the tree's ground, and the process that the plugin
will be, which waits too, and adds to the tree what is the call's own (plugin_init.py). One call a monitor, ever: nothing that a plugin
touched is used again.

The monitor is trusted and holds no secret; it runs no plugin code. It alone decides that a limit of the tree was passed, and it
kills by ending the first process of the pid namespace, which takes all others with it. It ends when the host closes the report,
when the zygote dies, or when its plugin has ended.
"""

import array
import contextlib
import json
import os
import resource
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from plugin_sandbox.inner import mounts, namespaces, syscalls, watchdog
from plugin_sandbox.inner.box import REPORT_BYTES, Bit, Box, Ended, Ground, LayerFailed
from plugin_sandbox.inner.cgroups import Groups
from plugin_sandbox.inner.inbox import Inboxes, is_called, receive
from plugin_sandbox.inner.plugin_init import GO_ON, PR_SET_PDEATHSIG, become_plugin, name_process
from plugin_sandbox.inner.watchdog import Watch

PR_SET_CHILD_SUBREAPER = 36
_PR_SET_DUMPABLE = 4
_BUILD_SECONDS = 10.0
#: Killed, by nobody that we know, with so much of its processor used: by the kernel's limit, which counts ticks and may be off.
_CPU_PART = 0.5


def keep_user_namespace(ground: Ground, spaces: namespaces.UserNamespaces) -> int:
    """Return the user namespace that root's monitor enters; -1: it makes one itself, or has none."""
    if not _takes_from_root(ground) or "user_namespace" in ground.off:
        return -1
    ids = [0] if ground.uid < 0 else [0, ground.uid]
    return spaces.get(namespaces.slot_maps(ids), namespaces.slot_maps(ids))


def clone_call(box: Box, spaces: namespaces.UserNamespaces) -> list[int]:
    """Clone the call's mounts as root, while it is root: nothing from within a user namespace may map another's files to a slot."""
    if not _takes_from_root(Ground.of(box)):
        return []
    idmap = None
    if box.uid >= 0:
        owner = os.stat(box.workspace)
        idmap = spaces.get(((owner.st_uid, box.uid, 1),), ((owner.st_gid, box.gid, 1),))
    return mounts.clone_call(box, idmap)


def _takes_from_root(ground: Ground) -> bool:
    return ground.tier == "strict" and os.geteuid() == 0


def serve(ground: Ground, inboxes: Inboxes, user_namespace: int, *, parent: int | None) -> NoReturn:
    """Lay the ground, wait for the call, run it to its end, and leave the process.

    `inboxes` bring one call (inbox.py). A ground that cannot be laid is told to the one who calls. `parent`: who must live; None: the
    report alone tells (cold exec).
    """
    name_process("plugin-spare")
    if parent is not None:
        syscalls.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    with contextlib.suppress(_NoCall):
        _serve(ground, inboxes, user_namespace)
    os._exit(0)


class _NoCall(Exception):
    """The zygote has no use for this ground any more."""


def _serve(ground: Ground, inboxes: Inboxes, user_namespace: int) -> None:
    call: _Call | None = None
    try:
        laid = _lay(ground, user_namespace, inboxes)
        if not is_called(inboxes.monitor):
            _rehearse(ground, laid)
        call = _Call.receive(inboxes.monitor)
        name_process("plugin-monitor")
        _run(call, laid)
    except LayerFailed as failed:
        why = failed
    except OSError as error:
        why = LayerFailed("monitor", str(error))
    else:
        return
    _say((call or _Call.receive(inboxes.monitor)).report, {"event": "refused", "layer": why.layer, "error": why.text})


@dataclass(frozen=True)
class _Call:
    box: Box
    report: socket.socket

    @classmethod
    def receive(cls, inbox: socket.socket) -> "_Call":
        taken = receive(inbox)
        if taken is None:
            raise _NoCall
        message, (report,) = taken
        return cls(Box.from_json(message), socket.socket(fileno=report))


@dataclass(frozen=True)
class _Laid:
    """What waits for a call."""

    first: int  # the plugin's process-to-be
    channel: socket.socket  # to it
    proc: int  # the host's /proc
    changes: int  # the changes' root; -1: without an overlay


def _lay(ground: Ground, user_namespace: int, inboxes: Inboxes) -> _Laid:
    """Build what needs no call, and fork the plugin's process."""
    syscalls.call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    changes = -1
    if ground.tier == "strict":
        is_root = os.geteuid() == 0
        trees = mounts.clone_ground(ground) if is_root else None
        namespaces.enter(ground, user_namespace)
        if trees is None:
            trees = mounts.clone_ground(ground)
        mounts.make_private()
        mounts.lay_ground(trees, _plugin_ids(ground, is_root=is_root))
        changes = mounts.open_changes(ground)
    # A change of identity closed /proc/self to ourselves; the watchdog reads the exact sums of our own children there.
    syscalls.call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first = os.fork()
    if first == 0:
        ours.close()
        inboxes.monitor.close()
        become_plugin(ground, inboxes.plugin, theirs)
    theirs.close()
    inboxes.plugin.close()
    _offer(proc, first)
    return _Laid(first, ours, proc, changes)


def _offer(proc: int, first: int) -> None:
    """Where the machine's own memory is spent, let the kernel end a plugin before a worker, a server, or whoever else runs there."""
    try:
        descriptor = os.open(f"{first}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return  # nothing is promised of this: a /proc that is read-only does not refuse a plugin
    try:
        os.write(descriptor, b"1000")
    finally:
        os.close(descriptor)


def _rehearse(ground: Ground, laid: _Laid) -> None:
    """Go once through what a call's end has to wait for, so that the pages which that touches first are at hand."""
    box = Box.from_json(ground.make_box().to_json())
    watch = Watch(box, Groups(), laid.proc, laid.first)
    watch.interval_seconds()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        ended = _ended(box, watch, 0, resource.getrusage(resource.RUSAGE_SELF), None, laid.changes)
        _say(near, {"event": "ended", **vars(ended)})
        receive(far)


def _say(report: socket.socket, message: dict[str, object], descriptor: int = -1) -> None:
    ancillary = []
    if descriptor >= 0:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    try:
        report.sendmsg([json.dumps(message).encode()[:REPORT_BYTES]], ancillary)
    except OSError:
        return  # the host is gone; the caller ends the tree when it reads the same


def _run(call: _Call, laid: _Laid) -> None:
    box, report = call.box, call.report
    copy, changes = -1, laid.changes
    try:
        groups = Groups.open(box.cgroups)
        if box.limits.processes and "watchdog" not in box.off:
            watchdog.check(laid.proc)
        if box.tier != "strict":
            # The copy and the temporary files beside it.
            copy = os.open(os.path.dirname(box.work), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (LayerFailed, OSError):
        _end(laid.first)
        raise
    watch = Watch(box, groups, laid.proc, laid.first, copy)
    started = time.monotonic()
    _say(report, {"event": "begun"})
    layers = _lock_down(laid, groups)
    for controller, layer in (("memory", "memory_cgroup"), ("pids", "pids_cgroup"), ("cpu", "cpu_cgroup")):
        layers[layer] = "on" if groups.has(controller) else "off"
    _say(report, {"event": "built", "layers": {**_layers_of(box), **layers}}, changes)
    bit = _wait_end(box, watch, report, started)
    _, status, usage = os.wait4(laid.first, 0)
    _sweep(laid.proc)
    _say(report, {"event": "ended", **vars(_ended(box, watch, status, usage, bit, changes))})


def _layers_of(box: Box) -> dict[str, str]:
    built = (*namespaces.LAYERS, *mounts.LAYERS, "watchdog") if box.tier == "strict" else ("watchdog",)
    return {layer: "off" if layer in box.off else "on" for layer in built}


def _plugin_ids(ground: Ground, *, is_root: bool) -> tuple[int, int]:
    """Who the plugin is, as its namespace numbers it."""
    if not is_root:
        return (namespaces.INSIDE_ID, namespaces.INSIDE_ID)
    return (ground.uid, ground.gid) if ground.uid >= 0 else (0, 0)


def _lock_down(laid: _Laid, groups: Groups) -> dict[str, str]:
    """Let the plugin's process go on, and wait until it has given up everything; what it could not install is a refusal."""
    laid.channel.settimeout(_BUILD_SECONDS)
    try:
        with contextlib.suppress(ConnectionError):  # it has ended; why is what it said last
            socket.send_fds(laid.channel, [GO_ON], groups.procs)
        message = laid.channel.recv(REPORT_BYTES)
    except (TimeoutError, ConnectionError):
        message = b""
    laid.channel.close()
    said: dict[str, Any] = {"layer": "monitor", "error": "the plugin's process did not get ready"}
    if message:
        said = json.loads(message)
    if "layers" in said:
        return dict(said["layers"])
    _end(laid.first)
    raise LayerFailed(said["layer"], said["error"])


def _end(first: int) -> None:
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)


def _wait_end(box: Box, watch: Watch, report: socket.socket, started: float) -> Bit | None:
    """Wait for the plugin's end, or bring it about; return what for."""
    pidfd = os.pidfd_open(watch.first)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(report, select.POLLIN)
    deadline = started + box.limits.wall_seconds
    bit: Bit | None = None
    try:
        while True:
            left = deadline - time.monotonic()
            pause = watch.interval_seconds()
            ready = dict(poll.poll(max(0.0, min(left, pause) if pause else left) * 1000))
            if pidfd in ready:
                return bit
            if report.fileno() in ready:
                bit = "cancelled"  # the host never writes: readable means closed
            elif time.monotonic() >= deadline:
                bit = "wall"
            else:
                bit = watch.look()
            if bit:
                os.kill(watch.first, signal.SIGKILL)
                return bit
    finally:
        os.close(pidfd)


def _sweep(proc: int) -> None:
    """End whatever is left as our child: where there is no pid namespace, orphans come to us."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for child in _children(proc):
                os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children(proc: int) -> list[int]:
    me = os.getpid()
    descriptor = os.open(f"{me}/task/{me}/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    with open(descriptor, encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def _ended(box: Box, watch: Watch, status: int, usage: resource.struct_rusage, bit: Bit | None, changes: int) -> Ended:
    code = os.waitstatus_to_exitcode(status)
    cpu = max(watch.cpu_seconds(), usage.ru_utime + usage.ru_stime)
    if bit is None and watch.groups.oom_kills():
        bit = "memory"
    over = cpu >= box.limits.cpu_seconds * _CPU_PART
    if bit is None and over and -code in (signal.SIGKILL, signal.SIGXCPU):
        bit = "cpu"
    return Ended(
        exit_code=code,
        signal=max(0, -code),
        bit=bit,
        peak_memory_bytes=max(usage.ru_maxrss * 1024, watch.peak_bytes, watch.groups.peak_bytes()),
        cpu_seconds=round(cpu, 3),
        disk_full=mounts.is_full(changes) if changes >= 0 else bit == "disk",
        processes_refused=watch.groups.has_refused_processes(),
    )
