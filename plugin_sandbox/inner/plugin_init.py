"""What the plugin's process does before the plugin's first line: waits for its call, completes and enters its root, gives up everything.

Then it hands over to the runner. While it waits it rehearses a run (runner.py).
It is pid 1 of its pid namespace. Until it has told the monitor that it is locked down, it runs our code alone; the channel to
the monitor is closed before the plugin is imported.
"""

import fcntl
import gc
import json
import os
import signal
import socket
import sys
from typing import NoReturn

from plugin_sandbox.inner import mounts, syscalls
from plugin_sandbox.inner.box import REQUEST_FD, RESULT_FD, Box, Ground, LayerFailed
from plugin_sandbox.inner.cgroups import controllers_of, enter
from plugin_sandbox.inner.inbox import is_called, receive
from plugin_sandbox.inner.lockdown import lock_down, prepare
from plugin_sandbox.inner.runner import rehearse, rehearse_models, run

PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_CHANNEL_FD, _RULESET_FD = 5, 6
_ABOVE = 64
#: Who has waited so long has time for more: calls that come one after another leave less.
_IDLE_MS = 20
#: The monitor's word that it is ready to watch: nothing of a call's box counts for the plugin before it.
GO_ON = b"go on"

#: The folder that contains `plugin_sandbox`; inside, only that package is in it.
HOME_OF_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def become_plugin(ground: Ground, inbox: socket.socket, channel: socket.socket) -> NoReturn:
    """Become the plugin of the call that `inbox` brings: this process does not return, whatever happens.

    channel: to the monitor; brings its word to go on, and takes what came of it.
    """
    name_process("plugin-spare")
    back = _Channel(channel)
    try:
        settled = _settle(ground)
        _practise(inbox)
        taken = receive(inbox)
        inbox.close()
        if taken is None:
            os._exit(0)  # there is to be none
        message, (request, result, stderr, *trees) = taken
        box = Box.from_json(message)
        if isinstance(settled, LayerFailed):
            raise settled
        _build(box, trees)
        groups = back.wait_go_on()
        name_process("plugin")
        _enter(box, dict(zip(groups, controllers_of(box.cgroups), strict=True)))
        ruleset = _arrange(box, {REQUEST_FD: request, RESULT_FD: result, 2: stderr}, settled, back)
        layers = {"closed_fds": "off" if "closed_fds" in box.off else "on", **lock_down(box, ruleset)}
    except LayerFailed as failed:
        back.tell({"layer": failed.layer, "error": failed.text})
        os._exit(1)
    except OSError as error:
        back.tell({"layer": "closed_fds", "error": str(error)})
        os._exit(1)
    back.tell({"layers": layers})
    os.close(back.fd)
    run(REQUEST_FD, RESULT_FD)


def name_process(name: str) -> None:
    """Let `ps` say what this process is."""
    syscalls.call("prctl", _PR_SET_NAME, name.encode(), 0, 0, 0)


class _Channel:
    """The way from and to the monitor, until the plugin is imported: its word to go on, then what came of it."""

    def __init__(self, end: socket.socket) -> None:
        self._end: socket.socket | None = end
        self.fd = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, _ABOVE)

    def wait_go_on(self) -> tuple[int, ...]:
        """Wait until the monitor is ready; return the descriptors that come with its word. Later calls return none."""
        if self._end is None:
            return ()
        with self._end as end:
            taken = receive(end)
        self._end = None
        if taken is None:
            os._exit(0)  # it refused the call
        return taken[1]

    def tell(self, message: dict[str, object]) -> None:
        self.wait_go_on()  # what is told before goes down with this process
        try:
            os.write(self.fd, json.dumps(message).encode())
        except OSError:
            os._exit(1)  # the monitor is gone, and so shall this be


def _practise(inbox: socket.socket) -> None:
    """Rehearse while no call is there; what was made for it is collected, or a plugin would find it among its base's classes."""
    for exercise, wait_ms in ((rehearse, 0), (rehearse_models, _IDLE_MS)):
        if is_called(inbox, wait_ms):
            return
        exercise()
        gc.collect()


def _settle(ground: Ground) -> int | LayerFailed:
    """Do what needs no call; return Landlock's ruleset, or what could not be done, for the one who calls.

    The kernel ends this process with its monitor; a monitor lost before is noticed at the channel.
    """
    syscalls.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    os.umask(0o022)
    sys.argv = ["plugin"]
    sys.path[:] = [*ground.sys_path, HOME_OF_PACKAGE]
    os.environ.clear()
    try:
        if ground.tier == "strict":
            mounts.mount_proc(ground)
        ruleset = prepare(ground, mounts.STAGE if ground.tier == "strict" else "")
    except LayerFailed as failed:
        return failed
    return ruleset


def _build(box: Box, trees: list[int]) -> None:
    if box.tier != "strict":
        return
    try:
        mounts.finish(box, trees or mounts.clone_call(box, None))
    except OSError as error:
        raise LayerFailed("monitor", str(error)) from error


def _enter(box: Box, groups: dict[int, str]) -> None:
    enter(groups, hides=box.tier == "strict")
    if box.tier == "strict":
        mounts.enter_root(box)
    else:
        os.chdir(box.work)
    # What is granted to be executed is found by its file's name.
    path = ":".join(dict.fromkeys(("/usr/bin", "/bin", *(os.path.dirname(program) for program in box.programs))))
    os.environ.update({"PATH": path, "LANG": "C.UTF-8", "HOME": box.tmp, "TMPDIR": box.tmp})


def _arrange(box: Box, files: dict[int, int], ruleset: int, back: _Channel) -> int:
    """Put what the plugin may have at its numbers, and close all the rest but for what the lock-down closes; return the ruleset."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    wanted = {0: null, 1: files[2], **files, _CHANNEL_FD: back.fd}
    if ruleset >= 0:
        wanted[_RULESET_FD] = ruleset
    # First out of the way of each other, then down to their places.
    high = {place: fcntl.fcntl(old, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for place, old in wanted.items()}
    for place, old in high.items():
        os.dup2(old, place, inheritable=place <= 2)
    if "closed_fds" not in box.off:
        syscalls.call("close_range", max(wanted) + 1, 0xFFFF_FFFF, 0)
    back.fd = _CHANNEL_FD
    return _RULESET_FD if ruleset >= 0 else -1
