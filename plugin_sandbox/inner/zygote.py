"""The process that every plugin is forked from: clean, single-threaded, warm.

Started by exec with an empty environment, it holds no secret and never runs plugin code. It takes one message a call from its
socket, hands it to a monitor, and reaps. It ends when its socket does. What it preloads is shared by all calls, and so are the
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
from typing import TypeAlias

from plugin_sandbox.inner import lockdown, monitor, mounts, namespaces, syscalls
from plugin_sandbox.inner.box import FDS, Box, Ground, LayerFailed
from plugin_sandbox.inner.inbox import Inboxes, is_called, receive
from plugin_sandbox.inner.plugin_init import name_process
from plugin_sandbox.inner.runner import rehearse, rehearse_models

_STACK_BYTES = 512 * 1024
#: After so many the interpreter has specialised the code of a run, which those who are forked for one then share.
_REHEARSALS = 12
#: So many spares of one ground wait when a call has ended, and so many when no other came for a while: then the calls of a short pass
#: find theirs at hand, and share their time with the making of one other at most.
_AHEAD, _AHEAD_IDLE = 2, 3
_IDLE_MS = 20

#: A monitor that waits: its number, and where a call for it is sent to.
Spare: TypeAlias = tuple[int, Inboxes]


def main(inbox_fd: int, preload: list[str]) -> None:
    """Serve calls until the socket ends."""
    _settle(preload, rehearsals=_REHEARSALS)
    Zygote(socket.socket(fileno=inbox_fd)).serve()


class Zygote:
    """Serves many calls, each by a monitor of its own; monitors for the next calls it starts ahead of them.

    A spare monitor stands on the ground of a call that there was. While a call runs one spare waits, and two or three while none
    does. None is started where there are as many monitors and spares as this process has CPUs, or one more while nothing runs. None
    is used when the host's mounts have changed since, which its view of them would not show.
    """

    def __init__(self, inbox: socket.socket) -> None:
        self._inbox = inbox
        self._spaces = namespaces.UserNamespaces()
        self._most = len(os.sched_getaffinity(0))
        self._spares: dict[Ground, list[Spare]] = {}
        self._monitors: dict[int, Ground] = {}
        # Orphans of a lost monitor come to us, and are ended.
        syscalls.call("prctl", monitor.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Serve until the socket ends."""
        poll = select.poll()
        poll.register(self._inbox, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        poll.register(self._mounts, select.POLLPRI)
        behind: Ground | None = None  # of the last call: fewer spares than could be may wait on it
        while True:
            ready = dict(poll.poll(None if behind is None else _IDLE_MS))
            if not ready and behind is not None and not self._make_spare(behind, _AHEAD_IDLE):
                behind = None
            if self._mounts in ready:
                self._drop_spares()
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                for behind in self._reap():
                    self._make_spare(behind, _AHEAD)
            if self._inbox.fileno() in ready:
                call = receive(self._inbox, len(FDS))
                if call is None:
                    self._end_spares()
                    return
                ground, behind = self._hand_over(*call), None
                del call  # whoever is forked from here on finds this frame, and is another call's
                self._make_spare(ground, 1)

    def _hand_over(self, message: bytes, fds: tuple[int, ...]) -> Ground:
        """Give a call to a monitor; return its ground. A monitor that is lost with it is noticed by the host, at the report."""
        box = Box.from_json(message)
        ground = Ground.of(box)
        trees: list[int] = []
        try:
            pid, ends = self._take_spare(ground) or self._fork(ground, fds)
            self._monitors[pid] = ground
            with contextlib.closing(ends):
                trees = monitor.clone_call(box, self._spaces)
                ends.send(message, fds, trees)
        except LayerFailed as failed:
            _refuse(os.dup(fds[-1]), failed)
        finally:
            for descriptor in (*fds, *trees):
                os.close(descriptor)
        return ground

    def _take_spare(self, ground: Ground) -> Spare | None:
        changed = select.poll()
        changed.register(self._mounts, select.POLLPRI)
        if changed.poll(0):
            self._drop_spares()
        waiting = self._spares.get(ground)
        if not waiting:
            return None
        spare = waiting.pop(0)  # the one that has had the most time to get ready
        if not waiting:
            del self._spares[ground]
        return spare

    def _make_spare(self, ground: Ground, wanted: int) -> bool:
        """Start one where fewer than `wanted` wait on this ground, and there is room; say whether it was."""
        waiting = self._spares.get(ground, [])
        if len(waiting) >= wanted or (self._room() < 1 and (waiting or not self._make_room())):
            return False
        try:
            self._spares[ground] = [*waiting, self._fork(ground)]
        except LayerFailed:
            return False  # the next call is told
        if not is_called(self._inbox):
            _rehearse(ground, self._wake)
        return True

    def _room(self) -> int:
        """How many more may be started."""
        running = len(self._monitors)
        return self._most + (running == 0) - running - len(self._all_spares())

    def _make_room(self) -> bool:
        """End spares of grounds on which others wait, if that makes room: a ground without one has more need of it."""
        lacking = 1 - self._room()
        if sum(len(waiting) - 1 for waiting in self._spares.values()) < lacking:
            return False
        for _ in range(lacking):
            max(self._spares.values(), key=len).pop()[1].close()
        return True

    def _all_spares(self) -> list[Spare]:
        return [spare for waiting in self._spares.values() for spare in waiting]

    def _drop_spares(self) -> None:
        """Let them end, at the closing of their sockets."""
        for _, ends in self._all_spares():
            ends.close()
        self._spares.clear()

    def _end_spares(self) -> None:
        spares = [pid for pid, _ in self._all_spares()]
        self._drop_spares()
        for pid in spares:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _fork(self, ground: Ground, fds: tuple[int, ...] = ()) -> Spare:
        """Start a monitor on this ground, which starts the plugin's process-to-be; raise LayerFailed."""
        user_namespace = monitor.keep_user_namespace(ground, self._spaces)
        me = os.getpid()
        ours, theirs = Inboxes.pair()
        child = os.fork()
        if child == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                ours.close()
                self._inbox.close()
                self._drop_spares()  # theirs is our process's end alone
                for descriptor in fds:  # they come with the call
                    os.close(descriptor)
                monitor.serve(ground, theirs, user_namespace, parent=me)
            finally:
                os._exit(1)  # whatever went wrong, this process never becomes a second zygote
        theirs.close()
        return child, ours

    def _reap(self) -> list[Ground]:
        """Take leave of ended monitors; return their grounds. A child that is no monitor was left by one that died, and dies too."""
        grounds = []
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._monitors:
                grounds.append(self._monitors.pop(pid))
            self._forget_spare(pid)
        ours = self._monitors.keys() | {pid for pid, _ in self._all_spares()}
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            strays = {int(pid) for pid in file.read().split()} - ours
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return grounds

    def _forget_spare(self, pid: int) -> None:
        for ground, waiting in list(self._spares.items()):
            for spare in [spare for spare in waiting if spare[0] == pid]:
                spare[1].close()
                waiting.remove(spare)
            if not waiting:
                del self._spares[ground]


def main_cold(inbox_fd: int) -> None:
    """Serve one call in this process itself: a fresh interpreter, with an address layout of its own."""
    _settle([], rehearsals=0)
    with socket.socket(fileno=inbox_fd) as inbox:
        call = receive(inbox, len(FDS))
    if call is None:
        return
    message, fds = call
    box, spaces = Box.from_json(message), namespaces.UserNamespaces()
    ground = Ground.of(box)
    ours, theirs = Inboxes.pair()
    try:
        user_namespace = monitor.keep_user_namespace(ground, spaces)
        trees = monitor.clone_call(box, spaces)
    except LayerFailed as failed:
        _refuse(fds[-1], failed)
        return
    with contextlib.closing(ours):
        ours.send(message, fds, trees)
    for descriptor in (*fds, *trees):
        os.close(descriptor)
    monitor.serve(ground, theirs, user_namespace, parent=None)


def _rehearse(ground: Ground, descriptor: int) -> None:
    """Go once through what a call waits for in the zygote: after a fork, each page that this touches first is copied."""
    box = ground.make_box()
    here, there = Inboxes.pair()
    with contextlib.closing(here), contextlib.closing(there):
        here.send(box.to_json(), [descriptor] * len(FDS), [])
        for inbox in (there.plugin, there.monitor):
            message, fds = receive(inbox) or (b"", ())
            for received in fds:
                os.close(received)
        mounts.paths_of(Box.from_json(message))


def _settle(preload: list[str], *, rehearsals: int) -> None:
    name_process("plugin-zygote")
    threading.stack_size(_STACK_BYTES)
    for name in preload:
        with contextlib.suppress(ImportError):  # not installed: a plugin that needs it says so itself
            importlib.import_module(name)
    lockdown.warm()
    for _ in range(rehearsals):
        rehearse()
        rehearse_models()
    gc.collect()
    gc.freeze()


def _refuse(report_fd: int, failed: LayerFailed) -> None:
    with socket.socket(fileno=report_fd) as report, contextlib.suppress(OSError):
        report.send(json.dumps({"event": "refused", "layer": failed.layer, "error": failed.text}).encode())


def start(arguments: list[str]) -> None:
    """Entry point of both: `warm FD NAME...` or `cold FD`."""
    mode, descriptor, *preload = arguments
    sys.argv = ["zygote"]
    if mode == "warm":
        main(int(descriptor), preload)
    else:
        main_cold(int(descriptor))
