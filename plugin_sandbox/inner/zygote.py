"""The process that every plugin is forked from: clean, single-threaded, warm.

Started by exec with an empty environment, it holds no secret and never runs plugin code. It takes one message a call from its
socket, forks a monitor for it, and reaps. It ends when its socket does. What it preloads is shared by all calls, and so are the
address layout and the hash seed.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import NoReturn

from plugin_sandbox.inner import lockdown, monitor, namespaces, syscalls
from plugin_sandbox.inner.box import FDS, REPORT_BYTES, Box, LayerFailed

_STACK_BYTES = 512 * 1024
_REAP_SECONDS = 1.0


def receive(inbox: socket.socket) -> tuple[Box, tuple[int, ...]] | None:
    """Take one call; None when the other end has closed."""
    message, fds, _, _ = socket.recv_fds(inbox, REPORT_BYTES, len(FDS))
    if not message:
        return None
    for descriptor in fds:
        os.set_inheritable(descriptor, False)
    return Box.from_json(message), tuple(fds)


def main(inbox_fd: int, preload: list[str]) -> None:
    """Serve calls until the socket ends."""
    _settle(preload)
    inbox = socket.socket(fileno=inbox_fd)
    spaces = namespaces.UserNamespaces()
    # Orphans of a lost monitor come to us, and are ended.
    syscalls.call("prctl", monitor.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(inbox, select.POLLIN)
    poll.register(wake, select.POLLIN)
    monitors: set[int] = set()
    while True:
        ready = dict(poll.poll())
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            _reap(monitors)
        if inbox.fileno() in ready:
            call = receive(inbox)
            if call is None:
                return
            monitors.add(_start(*call, inbox, spaces))


def main_cold(inbox_fd: int) -> None:
    """Serve one call in this process itself: a fresh interpreter, with an address layout of its own."""
    _settle([])
    inbox = socket.socket(fileno=inbox_fd)
    call = receive(inbox)
    if call is None:
        return
    inbox.close()
    box, fds = call
    try:
        prepared = monitor.prepare(box, namespaces.UserNamespaces())
    except LayerFailed as failed:
        _refuse(fds[-1], failed)
        return
    monitor.serve(box, fds, prepared, parent=None)


def _settle(preload: list[str]) -> None:
    threading.stack_size(_STACK_BYTES)
    for name in preload:
        with contextlib.suppress(ImportError):  # not installed: a plugin that needs it says so itself
            importlib.import_module(name)
    lockdown.warm()
    gc.collect()
    gc.freeze()


def _start(box: Box, fds: tuple[int, ...], inbox: socket.socket, spaces: namespaces.UserNamespaces) -> int:
    """Fork a monitor for a call."""
    try:
        prepared = monitor.prepare(box, spaces)
    except LayerFailed as failed:
        _refuse(fds[-1], failed)
        for descriptor in fds[:-1]:
            os.close(descriptor)
        return 0
    me = os.getpid()
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        inbox.close()
        _serve(box, fds, prepared, me)
    for descriptor in fds:
        os.close(descriptor)
    return child


def _serve(box: Box, fds: tuple[int, ...], prepared: monitor.Prepared, parent: int) -> NoReturn:
    try:
        monitor.serve(box, fds, prepared, parent=parent)
    finally:
        os._exit(1)  # whatever went wrong, this process never becomes a second zygote


def _refuse(report_fd: int, failed: LayerFailed) -> None:
    with socket.socket(fileno=report_fd) as report, contextlib.suppress(OSError):
        report.send(json.dumps({"event": "refused", "layer": failed.layer, "error": failed.text}).encode())


def _reap(monitors: set[int]) -> None:
    """Take leave of ended monitors; a child that is none of them was left by one that died, and dies too."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            break
        monitors.discard(pid)
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        strays = {int(pid) for pid in file.read().split()} - monitors
    for pid in strays:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(arguments: list[str]) -> None:
    """Entry point of both: `warm FD NAME...` or `cold FD`."""
    mode, descriptor, *preload = arguments
    sys.argv = ["zygote"]
    if mode == "warm":
        main(int(descriptor), preload)
    else:
        main_cold(int(descriptor))
