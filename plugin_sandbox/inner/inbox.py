"""How a call reaches the two processes that wait for it: the monitor learns what to watch, the plugin's process what to become.

Both are told at once, so that neither waits until the other has read. Who may go on when is not decided here: the plugin's process
waits for its monitor's word before it gives itself up (plugin_init.py).
"""

import array
import contextlib
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from plugin_sandbox.inner.box import MOST_FDS, REPORT_BYTES


@dataclass(frozen=True)
class Inboxes:
    """Where a call is sent to, or where it is waited for.

    monitor: brings the box as JSON, with the report.
    plugin: brings the box as JSON, with request, result and stderr, and the mounts of `clone_call` behind them.
    """

    monitor: socket.socket
    plugin: socket.socket

    @classmethod
    def pair(cls) -> "tuple[Inboxes, Inboxes]":
        """Return the ends to send to, and those to wait at."""
        (monitor, at_monitor), (plugin, at_plugin) = (
            socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)
        )
        return cls(monitor, plugin), cls(at_monitor, at_plugin)

    def send(self, message: bytes, fds: Sequence[int], trees: Sequence[int]) -> None:
        """Hand over a call with its `FDS` and mounts. A process that is gone is missed by the other, or by the host."""
        *files, report = fds
        for inbox, descriptors in ((self.plugin, [*files, *trees]), (self.monitor, [report])):
            with contextlib.suppress(ConnectionError):
                socket.send_fds(inbox, [message], descriptors)

    def close(self) -> None:
        """Let those who wait at the other end know that no call comes."""
        self.monitor.close()
        self.plugin.close()


def is_called(inbox: socket.socket, wait_ms: int = 0) -> bool:
    """Say whether there is something to receive, or the other end has closed, within so many milliseconds."""
    coming = select.poll()
    coming.register(inbox, select.POLLIN)
    return bool(coming.poll(wait_ms))


def receive(inbox: socket.socket, most_fds: int = MOST_FDS) -> tuple[bytes, tuple[int, ...]] | None:
    """Take one message with its descriptors, which no program that is executed inherits; None when the other end has closed."""
    fds = array.array("i")
    room = socket.CMSG_SPACE(most_fds * fds.itemsize)
    message, ancillary, _, _ = inbox.recvmsg(REPORT_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    for _, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return (message, tuple(fds)) if message else None
