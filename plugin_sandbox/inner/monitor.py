"""Builds one call's box, starts the plugin in it, watches it, and reports how it ended.

The monitor is trusted and holds no secret; it runs no plugin code. It alone decides that a limit of the tree was passed, and it
kills by ending the first process of the pid namespace, which takes all others with it. It ends when the host closes the report,
when the zygote dies, or when its plugin has ended.
"""

import array
import json
import os
import resource
import select
import signal
import socket
import time
from dataclasses import asdict
from typing import Any, NoReturn

from plugin_sandbox.inner import mounts, namespaces, syscalls, watchdog
from plugin_sandbox.inner.box import REPORT_BYTES, Bit, Box, Ended, LayerFailed
from plugin_sandbox.inner.cgroups import Groups
from plugin_sandbox.inner.plugin_init import PR_SET_PDEATHSIG, become_plugin
from plugin_sandbox.inner.watchdog import Watch

PR_SET_CHILD_SUBREAPER = 36
_PR_SET_DUMPABLE = 4
_BUILD_SECONDS = 10.0
#: Killed, by nobody that we know, with so much of its processor used: by the kernel's limit, which counts ticks and may be off.
_CPU_PART = 0.5


class Prepared:
    """The user namespaces that root's zygote keeps for a slot; an ordinary user has none."""

    def __init__(self, enter: int | None = None, idmap: int | None = None) -> None:
        self.enter, self.idmap = enter, idmap


def prepare(box: Box, spaces: namespaces.UserNamespaces) -> Prepared:
    """Make, or take from those that are kept, what has to be made outside the box."""
    if os.geteuid() != 0 or box.tier != "strict":
        return Prepared()
    uids, gids = [0], [0]
    idmap = None
    if box.uid >= 0:
        uids.append(box.uid)
        gids.append(box.gid)
        owner = os.stat(box.workspace)
        idmap = spaces.get(((owner.st_uid, box.uid, 1),), ((owner.st_gid, box.gid, 1),))
    enter = None
    if "user_namespace" not in box.off:
        enter = spaces.get(namespaces.slot_maps(uids), namespaces.slot_maps(gids))
    return Prepared(enter, idmap)


def serve(box: Box, fds: tuple[int, ...], prepared: Prepared, *, parent: int | None) -> NoReturn:
    """Run one call to its end and leave the process. `parent`: who must live; None: the report alone tells (cold exec)."""
    request, result, stderr, report_fd = fds
    report = socket.socket(fileno=report_fd)
    try:
        if parent is not None:
            syscalls.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
        syscalls.call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _run(box, prepared, request=request, result=result, stderr=stderr, report=report)
    except LayerFailed as failed:
        _say(report, {"event": "refused", "layer": failed.layer, "error": failed.text})
    except OSError as error:
        _say(report, {"event": "refused", "layer": "monitor", "error": str(error)})
    os._exit(0)


def _say(report: socket.socket, message: dict[str, object], descriptor: int = -1) -> None:
    ancillary = []
    if descriptor >= 0:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    try:
        report.sendmsg([json.dumps(message).encode()[:REPORT_BYTES]], ancillary)
    except OSError:
        return  # the host is gone; the caller ends the tree when it reads the same


def _run(box: Box, prepared: Prepared, *, request: int, result: int, stderr: int, report: socket.socket) -> None:
    groups = Groups.open(box.cgroups)
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if box.limits.processes and "watchdog" not in box.off:
        watchdog.check(proc)
    copy = changes = -1
    if box.tier == "strict":
        changes = _build(box, prepared)
    else:
        # The copy and the temporary files beside it.
        copy = os.open(os.path.dirname(box.work), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # A change of identity closed /proc/self to ourselves; the watchdog reads the exact sums of our own children there.
    syscalls.call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    started = time.monotonic()
    first = os.fork()
    if first == 0:
        ours.close()
        become_plugin(box, request=request, result=result, stderr=stderr, channel=theirs, groups=groups)
    theirs.close()
    for descriptor in (request, result, stderr):
        os.close(descriptor)
    watch = Watch(box, groups, proc, first, copy)
    layers = _wait_locked_down(ours, first)
    for controller, layer in (("memory", "memory_cgroup"), ("pids", "pids_cgroup"), ("cpu", "cpu_cgroup")):
        layers[layer] = "on" if groups.has(controller) else "off"
    _say(report, {"event": "built", "layers": {**_layers_of(box), **layers}}, changes)
    bit = _wait_end(box, watch, report, started)
    _, status, usage = os.wait4(first, 0)
    _sweep(proc)
    _say(report, {"event": "ended", **asdict(_ended(box, watch, status, usage, bit, changes))})


def _layers_of(box: Box) -> dict[str, str]:
    built = (*namespaces.LAYERS, *mounts.LAYERS, "watchdog") if box.tier == "strict" else ("watchdog",)
    return {layer: "off" if layer in box.off else "on" for layer in built}


def _build(box: Box, prepared: Prepared) -> int:
    root = os.geteuid() == 0
    trees = mounts.clone_trees(box, prepared.idmap) if root else None
    namespaces.enter(box, prepared.enter)
    if trees is None:
        trees = mounts.clone_trees(box, None)
    mounts.make_private()
    return mounts.build_root(box, trees, _plugin_ids(box, is_root=root))


def _plugin_ids(box: Box, *, is_root: bool) -> tuple[int, int]:
    """Who the plugin is, as its namespace numbers it."""
    if not is_root:
        return (namespaces.INSIDE_ID, namespaces.INSIDE_ID)
    return (box.uid, box.gid) if box.uid >= 0 else (0, 0)


def _wait_locked_down(channel: socket.socket, first: int) -> dict[str, str]:
    """Wait until the plugin's process has given up everything; what it could not install is a refusal."""
    channel.settimeout(_BUILD_SECONDS)
    try:
        message = channel.recv(REPORT_BYTES)
    except TimeoutError:
        message = b""
    channel.close()
    said: dict[str, Any] = {"layer": "monitor", "error": "the plugin's process did not get ready"}
    if message:
        said = json.loads(message)
    if "layers" in said:
        return dict(said["layers"])
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    raise LayerFailed(said["layer"], said["error"])


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
