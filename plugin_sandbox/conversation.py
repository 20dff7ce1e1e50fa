"""One call's talk with its monitor: feeds the request, drains result, stderr and report under one deadline, and ends the tree.

Everything that arrives is capped here and judged elsewhere. Blocks; runs in a thread of the host.
"""

import contextlib
import fcntl
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from plugin_sandbox.inner.box import REPORT_BYTES, Bit, Box, Ended

#: Beyond the plugin's own time: what building its box and taking it down may take on a busy machine.
_BUILD_SECONDS = 15.0
_END_SECONDS = 5.0
_CHUNK = 65_536


class Stop:
    """Asks a running call to end; may be set from any thread, any number of times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_set = False

    def fileno(self) -> int:
        """What becomes readable."""
        return self._fd

    def set(self) -> None:
        """End the call."""
        with self._lock:
            self.is_set = True
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """Give back the descriptor."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


@dataclass
class Talk:
    """What a call said: all of it capped, none of it judged."""

    layers: dict[str, str] = field(default_factory=dict)
    changes_fd: int = -1
    result: bytes = b""
    stderr: bytes = b""
    ended: Ended | None = None
    refused: tuple[str, str] | None = None  # layer, why
    is_lost: bool = False  # the monitor went away without a word
    has_begun: bool = False  # the plugin may have run
    over: Bit | None = None  # why the host ended the call

    def close(self) -> None:
        """Give back the descriptor of the changes."""
        if self.changes_fd >= 0:
            os.close(self.changes_fd)
            self.changes_fd = -1


def hold_talk(box: Box, request: bytes, send: Callable[[bytes, list[int]], None], stop: Stop) -> Talk:
    """Send the box to the zygote and stay with the call until nothing of it lives. Raises what `send` raises, and OSError."""
    with contextlib.ExitStack() as ends:
        request_fd = _seal(request)
        ends.callback(os.close, request_fd)
        result_read, result_write = os.pipe2(os.O_CLOEXEC)
        stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for descriptor in (result_read, stderr_read):
            os.set_blocking(descriptor, False)
            ends.callback(os.close, descriptor)
        ends.callback(report.close)
        try:
            send(box.to_json(), [request_fd, result_write, stderr_write, theirs.fileno()])
        finally:
            os.close(result_write)
            os.close(stderr_write)
            theirs.close()
        return _Drain(box, result_read, stderr_read, report, stop).run()


def _seal(request: bytes) -> int:
    """A file of the request that nobody can change any more: it can be of any size, and nobody has to feed it."""
    descriptor = os.memfd_create("request", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(request)
    while view:
        view = view[os.write(descriptor, view) :]
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _read(source: int) -> bytes | None:
    """Return what lies in a pipe, b"" at its end, None where nothing lies there now."""
    try:
        return os.read(source, _CHUNK)
    except BlockingIOError:
        return None


class _Drain:
    """The loop over a call's descriptors."""

    def __init__(self, box: Box, result: int, stderr: int, report: socket.socket, stop: Stop) -> None:
        self._box, self._result, self._stderr, self._report, self._stop = box, result, stderr, report, stop
        self._talk = Talk()
        self._taken: dict[int, bytearray] = {result: bytearray(), stderr: bytearray()}
        self._caps = {result: box.limits.result_bytes, stderr: box.limits.stderr_bytes}
        self._deadline = time.monotonic() + _BUILD_SECONDS + box.limits.wall_seconds
        self._is_ending = False

    def run(self) -> Talk:
        with selectors.DefaultSelector() as selector:
            for source in (self._result, self._stderr, self._report, self._stop):
                selector.register(source, selectors.EVENT_READ)
            while self._talk.ended is None and self._talk.refused is None and not self._talk.is_lost:
                ready = selector.select(max(0.0, self._deadline - time.monotonic()))
                if not ready and time.monotonic() >= self._deadline:
                    if self._is_ending:
                        self._talk.is_lost = True  # asked to end, and no word: the report is closed, which kills it
                        break
                    self._end("wall")
                for key, _ in ready:
                    self._take(selector, key.fileobj)
        for source in (self._result, self._stderr):
            self._drain_rest(source)
        self._talk.result = bytes(self._taken[self._result])
        self._talk.stderr = bytes(self._taken[self._stderr])
        return self._talk

    def _take(self, selector: selectors.BaseSelector, source: object) -> None:
        if source is self._report:
            self._take_report()
        elif source is self._stop:
            selector.unregister(self._stop)
            self._end("cancelled")
        elif isinstance(source, int) and not self._take_chunk(source):
            selector.unregister(source)

    def _take_chunk(self, source: int) -> bool:
        """Read what is there; False at its end, or when there is more than it may be.

        A plugin may open its end of a pipe for reading, too, and be quicker: then there is nothing, and it is no end.
        """
        chunk = _read(source)
        taken, cap = self._taken[source], self._caps[source]
        taken += (chunk or b"")[: cap - len(taken) + 1]
        if len(taken) > cap:
            del taken[cap:]
            self._end("output")
            return False
        return chunk != b""

    def _drain_rest(self, source: int) -> None:
        """Take what a dead tree left in a pipe, and no more than it may be: where a monitor was lost, perhaps it is not dead yet."""
        taken, cap = self._taken[source], self._caps[source]
        while chunk := _read(source):
            if len(taken) + len(chunk) > cap:
                taken += chunk[: cap - len(taken)]
                self._talk.over = self._talk.over or "output"
                return
            taken += chunk

    def _take_report(self) -> None:
        message, fds, _, _ = socket.recv_fds(self._report, REPORT_BYTES, 1)
        if not message:
            self._talk.is_lost = True
            return
        said = json.loads(message)
        match said.pop("event"):
            case "begun":
                self._talk.has_begun = True
            case "built":
                self._talk.layers = said["layers"]
                self._talk.changes_fd = fds[0] if fds else -1
                self._deadline = min(self._deadline, time.monotonic() + self._box.limits.wall_seconds + _END_SECONDS)
            case "refused":
                self._talk.refused = (said["layer"], said["error"])
            case _:  # ended: there are no others
                self._talk.ended = Ended(**said)

    def _end(self, why: Bit) -> None:
        """Have the monitor kill the tree, and wait for its last word."""
        if not self._is_ending:
            self._is_ending = True
            self._talk.over = why
            self._deadline = time.monotonic() + _END_SECONDS
            with contextlib.suppress(OSError):  # it ended meanwhile
                self._report.shutdown(socket.SHUT_WR)
