"""Gets a call into a box: which tier and layers this host gives, control groups, the zygote or a cold start.

It learns what is missing by being refused, which costs nothing: nothing of a refused call has run. What is missing is either
permitted by name, or a step down to the standard tier that the operator accepts, or the call's refusal.
"""

import contextlib
import secrets
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from plugin_sandbox import boxes, protocol
from plugin_sandbox.conversation import Stop, Talk, hold_talk
from plugin_sandbox.inner import cgroups
from plugin_sandbox.inner.box import LAYERS, Box, LayerFailed
from plugin_sandbox.model import Call, Limits, Tier
from plugin_sandbox.settings import SandboxSettings
from plugin_sandbox.zygote import Interpreter, Zygote, check_box, launch

#: Without these there is no strict tier, but there may be a standard one.
_NAMESPACED = frozenset(
    {
        "user_namespace",
        "mount_namespace",
        "pid_namespace",
        "network_namespace",
        "ipc_namespace",
        "uts_namespace",
        "read_only_root",
        "overlay",
    }
)
#: What the standard tier lacks even where all of it works: disk use is only looked at, the host's name is seen.
STANDARD_LACKS = ("disk_quota", "uts_namespace")
_NO_PROC = "without it a strict box has no /proc, by which its limits are set, and nothing that ends its whole tree"
_END_SECONDS = 5.0
_NO_GROUP = "this process has no control group to make others below: none is mounted, it may not be written, or systemd has not delegated it"


class Refused(Exception):
    """The call cannot be run as it is demanded; the text goes into the entry."""


class Launcher:
    """Starts calls; remembers what this host gave."""

    def __init__(self, settings: SandboxSettings, force_tier: Tier | None, off: tuple[str, ...]) -> None:
        unknown = set(off) - set(LAYERS)
        if unknown:
            raise ValueError(f"off: unknown layers {sorted(unknown)}; known: {', '.join(LAYERS)}")
        self._settings, self._is_forced = settings, force_tier is not None
        self._off = off
        self._executable = settings.python or sys.executable
        self._zygote = Zygote(self._executable, settings.preload)
        self._lock = threading.Lock()
        self._interpreter: Interpreter | None = None
        self._groups: dict[str, str] | None = None
        self._without: dict[str, str] = {}  # layer -> why there is no control group for it
        self._degraded: tuple[str, ...] = ()
        self.tier: Tier = force_tier or "strict"
        self.layers: dict[str, str] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """Layers that this host lacks, as far as was found, and that are permitted to be missing."""
        return tuple(sorted({*self._degraded, *(STANDARD_LACKS if self.tier == "standard" else ())}))

    def missing_for(self, limits: Limits) -> tuple[str, ...]:
        """As `missing`, for one call: with the control groups that a tree of processes should have, and the watchdog stands in for."""
        without = {layer for layer in self._without if layer not in self._off} if limits.processes else ()
        return tuple(sorted({*self.missing, *without}))

    @property
    def needs_copy(self) -> bool:
        """Say whether a call works on a private copy in place of an overlay."""
        return self.tier == "standard" or "overlay" in (*self._off, *self._degraded)

    def start(self) -> None:
        """Start the zygote ahead of the first call."""
        if self._settings.warm:
            self._zygote.start()

    def close(self) -> None:
        """End the zygote."""
        self._zygote.close()

    def launch(
        self, call: Call, limits: Limits, view: Path, uid: int | None, place: str, stop: Stop, proxy: str = ""
    ) -> Talk:
        """Run a call in the tier of the moment; raises Refused, ZygoteLost, OSError, or returns a talk that may be a refusal.

        place: names what the call has outside its box; whoever holds the slot next clears away what is left of it.
        proxy: the socket of the one way out, "" where there is none.
        """
        self._check(call, limits, uid, proxy)
        box = boxes.plan_box(
            call_id=f"{place}-{secrets.token_hex(8)}",
            tier=self.tier,
            limits=limits,
            workspace=view,
            package=call.plugin.path,
            programs=boxes.resolve_programs(call.plugin.manifest.isolation, self._settings),
            interpreter=self._ask(),
            slot_uid=uid,
            groups={},
            off=(*self._off, *self._degraded),
            proxy=proxy,
        )
        request = protocol.encode_request(call, box.work, proxy)
        groups = self._make_groups(box)
        try:
            talk = self._talk(replace(box, cgroups=groups), request, stop)
            if talk.layers and limits.processes:
                talk.layers.update({layer: why for layer, why in self._without.items() if talk.layers[layer] == "off"})
            self.layers = talk.layers or self.layers
            return talk
        finally:
            cgroups.remove(groups)

    def accept_missing(self, layer: str, why: str) -> None:
        """Go on without a layer that was refused, if that is permitted; raises Refused."""
        is_needed = layer == "pid_namespace" and self.tier == "strict"
        if layer in self._settings.allow_degraded and layer in LAYERS and layer not in self._degraded and not is_needed:
            self._degraded = (*self._degraded, layer)
            return
        if layer in _NAMESPACED and self.tier == "strict" and self._settings.tier == "standard" and not self._is_forced:
            self.tier = "standard"
            return
        if is_needed:
            raise Refused(explain(layer, f"{why}; {_NO_PROC}", instead="accept the standard tier: `tier: standard`"))
        raise Refused(explain(layer, why))

    def _check(self, call: Call, limits: Limits, uid: int | None, proxy: str) -> None:
        lacking = {"network_namespace", "mount_namespace"} & {*self._off, *self._degraded}
        if proxy and (lacking or self.tier != "strict"):
            # To reach one socket it may make sockets: then all those of the host have to be out of its sight.
            why = f"{call.plugin.manifest.name} asks for hosts, which are reached from an empty network alone"
            raise Refused(explain(min(lacking, default="network_namespace"), why, instead="let it do without hosts"))
        if self.tier == "strict":
            return
        unnamed = set(STANDARD_LACKS) - set(self._settings.allow_degraded)
        if unnamed:
            raise Refused(explain(min(unnamed), "the standard tier cannot give it"))
        if limits.processes:
            why = f"{call.plugin.manifest.name} asks for {limits.processes} processes, which nothing could end reliably"
            raise Refused(explain("pid_namespace", why, instead="let it do with `processes: 0`"))
        if uid is not None:
            for path in (*self._ask().sys_path, str(call.plugin.path)):
                _check_readable(path, uid)

    def _ask(self) -> Interpreter:
        with self._lock:
            if self._interpreter is None:
                self._interpreter = Interpreter.ask(self._executable)
            return self._interpreter

    def _make_groups(self, box: Box) -> dict[str, str]:
        """Make the call's control groups; a controller that this host does not give is the watchdog's work, and told as missing.

        One that was made and cannot be entered is another matter: the call is refused (inner/plugin_init.py).
        None for a plugin of one process: its own limits bind it exactly, and to enter a group costs more than all layers together
        (the kernel waits until no process of the host is in the middle of a fork).
        """
        if box.limits.processes == 0:
            return {}
        with self._lock:
            if self._groups is None:
                self._groups = cgroups.find_own()
                for name, layer in cgroups.LAYER_OF.items():
                    if name not in self._groups:
                        self._without[layer] = _NO_GROUP
        if "watchdog" in box.off:
            for layer, why in self._without.items():
                if layer not in box.off:
                    raise LayerFailed(layer, f"{why}, and the watchdog is off")
        while True:
            wanted = {name: path for name, path in self._groups.items() if cgroups.LAYER_OF[name] not in box.off}
            try:
                return cgroups.create(wanted, box.call_id, box.limits)
            except LayerFailed as failed:
                if "watchdog" in box.off:
                    raise
                self._without[failed.layer] = failed.text
                self._groups = {name: path for name, path in wanted.items() if cgroups.LAYER_OF[name] != failed.layer}

    def _talk(self, box: Box, request: bytes, stop: Stop) -> Talk:
        if not self._settings.warm:
            return self._talk_cold(box, request, stop)
        for _ in range(2):
            talk = hold_talk(box, request, self._zygote.send, stop)
            if not talk.is_lost or talk.has_begun or talk.over:
                return talk
            # The zygote died with the call in its hands. The plugin was not let go on, so nothing of it has run: once more.
        raise self._zygote.explain_loss()

    def _talk_cold(self, box: Box, request: bytes, stop: Stop) -> Talk:
        started: list[subprocess.Popen[bytes]] = []

        def send(message: bytes, fds: list[int]) -> None:
            check_box(message)
            process, inbox = launch(self._executable, ["cold"], [], subprocess.DEVNULL)
            started.append(process)
            with inbox:
                socket.send_fds(inbox, [message], fds)

        try:
            return hold_talk(box, request, send, stop)
        finally:
            for process in started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
                if process.returncode is None:
                    process.kill()
                    process.wait()


def explain(layer: str, why: str, instead: str = "permit its absence by name in `allow_degraded`") -> str:
    """Say which protection is missing, why, and what an operator can do; instead: what else, where that does not help."""
    return f"{layer}: {why}; `python -m plugin_sandbox doctor` shows the line that gives it on this host, or {instead}"


def _check_readable(path: str, uid: int) -> None:
    """Without a mount namespace the slot's uid has to reach what it runs."""
    place = Path(path)
    for folder in (place, *place.parents):
        shape = folder.stat()
        if not shape.st_mode & stat.S_IXOTH and shape.st_uid != uid:
            raise Refused(
                f"{folder}: uid {uid} cannot enter it, and {path} lies below; in the standard tier under root, name a `python` "
                f"that all may read, or run the worker as an ordinary user"
            )
