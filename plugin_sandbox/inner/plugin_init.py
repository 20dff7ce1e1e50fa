"""What the plugin's process does before the plugin's first line: enters its root, gives up everything, hands over to the runner.

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
from plugin_sandbox.inner.box import REQUEST_FD, RESULT_FD, Box, LayerFailed
from plugin_sandbox.inner.cgroups import Groups, enter
from plugin_sandbox.inner.lockdown import lock_down
from plugin_sandbox.inner.runner import run

PR_SET_PDEATHSIG = 1
_CHANNEL_FD = 5
_ABOVE = 64

#: The folder that contains `plugin_sandbox`; inside, only that package is in it.
HOME_OF_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class _Channel:
    """The way back to the monitor, until the plugin is imported: one message."""

    def __init__(self, end: socket.socket) -> None:
        self.fd = fcntl.fcntl(end.detach(), fcntl.F_DUPFD_CLOEXEC, _ABOVE)

    def tell(self, message: dict[str, object]) -> None:
        try:
            os.write(self.fd, json.dumps(message).encode())
        except OSError:
            os._exit(1)  # the monitor is gone, and so shall this be


def become_plugin(
    box: Box, *, request: int, result: int, stderr: int, channel: socket.socket, groups: Groups
) -> NoReturn:
    """Become the plugin: this process does not return, whatever happens."""
    back = _Channel(channel)
    try:
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


def _enter(box: Box, groups: Groups) -> None:
    # The kernel ends this process with its monitor. It cannot be too late: a lost monitor is noticed when we tell it.
    syscalls.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    enter(groups.procs)
    os.setsid()
    os.umask(0o022)
    if box.tier == "strict":
        mounts.enter_root(box)
    else:
        os.chdir(box.work)
    sys.argv = ["plugin"]
    sys.path[:] = [*box.sys_path, HOME_OF_PACKAGE]
    os.environ.clear()
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
