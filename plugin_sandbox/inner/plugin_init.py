"""What the plugin's process does before the plugin's first line: waits for its call, enters its root, gives up everything.

Then it hands over to the runner.
It is pid 1 of its pid namespace. Until it has told the monitor that it is locked down, it runs our code alone; the channel to
the monitor is closed before the plugin is imported.
"""

import fcntl
import json
import os
import signal
import socket
import sys
from typing import NoReturn

from plugin_sandbox.inner import mounts, syscalls
from plugin_sandbox.inner.box import MOST_FDS, REPORT_BYTES, REQUEST_FD, RESULT_FD, Box, Ground, LayerFailed
from plugin_sandbox.inner.cgroups import controllers_of, enter
from plugin_sandbox.inner.lockdown import lock_down, prepare
from plugin_sandbox.inner.runner import run

PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_CHANNEL_FD = 5
_ABOVE = 64

#: The folder that contains `plugin_sandbox`; inside, only that package is in it.
HOME_OF_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def become_plugin(ground: Ground, channel: socket.socket) -> NoReturn:
    """Become the plugin of the call that comes over `channel`: this process does not return, whatever happens."""
    name_process("plugin-spare")
    back = _Channel(channel)
    try:
        early = _settle(ground)
        box, request, result, stderr, groups = back.receive()
        name_process("plugin")
        if early is not None:
            raise early
        _enter(box, groups)
        _arrange(box, request, result, stderr, back)
        layers = {"closed_fds": "off" if "closed_fds" in box.off else "on", **lock_down(box)}
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
    """The way from and to the monitor, until the plugin is imported: one message each way."""

    def __init__(self, end: socket.socket) -> None:
        self.fd = fcntl.fcntl(end.detach(), fcntl.F_DUPFD_CLOEXEC, _ABOVE)

    def receive(self) -> tuple[Box, int, int, int, dict[int, str]]:
        """Wait for the call; end when there is to be none."""
        with socket.socket(fileno=os.dup(self.fd)) as end:
            message, fds, _, _ = socket.recv_fds(end, REPORT_BYTES, MOST_FDS)
        if not message:
            os._exit(0)
        request, result, stderr, *groups = fds
        box = Box.from_json(message)
        return box, request, result, stderr, dict(zip(groups, controllers_of(box.cgroups), strict=True))

    def tell(self, message: dict[str, object]) -> None:
        try:
            os.write(self.fd, json.dumps(message).encode())
        except OSError:
            os._exit(1)  # the monitor is gone, and so shall this be


def _settle(ground: Ground) -> LayerFailed | None:
    """Do what needs no call; return what could not be done, for the one who calls.

    The kernel ends this process with its monitor; a monitor lost before is noticed at the channel.
    """
    syscalls.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    os.umask(0o022)
    sys.argv = ["plugin"]
    sys.path[:] = [*ground.sys_path, HOME_OF_PACKAGE]
    os.environ.clear()
    try:
        prepare(ground)
        if ground.tier == "strict":
            mounts.mount_proc(ground)
    except LayerFailed as failed:
        return failed
    return None


def _enter(box: Box, groups: dict[int, str]) -> None:
    enter(groups, hides=box.tier == "strict")
    if box.tier == "strict":
        mounts.enter_root(box)
    else:
        os.chdir(box.work)
    # What is granted to be executed is found by its file's name.
    path = ":".join(dict.fromkeys(("/usr/bin", "/bin", *(os.path.dirname(program) for program in box.programs))))
    os.environ.update({"PATH": path, "LANG": "C.UTF-8", "HOME": box.tmp, "TMPDIR": box.tmp})


def _arrange(box: Box, request: int, result: int, stderr: int, back: _Channel) -> None:
    """Put what the plugin may have at its numbers, and close all the rest."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    wanted = {0: null, 1: stderr, 2: stderr, RESULT_FD: result, REQUEST_FD: request, _CHANNEL_FD: back.fd}
    # First out of the way of each other, then down to their places.
    high = {place: fcntl.fcntl(old, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for place, old in wanted.items()}
    for place, old in high.items():
        os.dup2(old, place, inheritable=place <= 2)
    if "closed_fds" not in box.off:
        syscalls.call("close_range", _CHANNEL_FD + 1, 0xFFFF_FFFF, 0)
    back.fd = _CHANNEL_FD
