"""What the host tells the monitor to build, and what the monitor says happened: the wire between them.

Plain dataclasses of JSON values, on both sides of the boundary. The host has validated all of it; the monitor checks again only
what it must not be lied to about.

A call is one message to the zygote: a `Box` as JSON, with file descriptors in the order of `FDS`. The zygote hands it to the monitor and
the plugin's process that wait for it (inbox.py). The monitor answers on the
call's own report socket (SEQPACKET, one JSON object a message, at most `REPORT_BYTES`):

    {"event": "begun"}   from here on the plugin may run: said before its process is let go on
    {"event": "built", "layers": {layer: "on" | "off" | why it is missing}}   with the fd of the changes' root attached
    {"event": "refused", "layer": layer, "error": text}                       nothing of the plugin has run
    {"event": "ended", ...}                                                   fields of `Ended`; nothing of the tree lives any more

The host ends a call by closing its end of the report socket: the monitor then kills the tree and exits.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

Tier: TypeAlias = Literal["strict", "standard"]

#: Descriptors that travel with a Box, in this order.
FDS = ("request", "result", "stderr", "report")

REPORT_BYTES = 65_536

#: Descriptors a message, at most: those of the call and its mounts. The kernel's own limit is 253.
MOST_FDS = 128

#: Inside: what the plugin's process finds at these numbers. 0 is /dev/null, 1 and 2 go to stderr.
REQUEST_FD, RESULT_FD = 4, 3

#: Every layer by its name: in reports, in `allow_degraded`, in `Box.off`, in the threat model.
LAYERS = (
    "closed_fds",
    "user_namespace",
    "mount_namespace",
    "pid_namespace",
    "network_namespace",
    "ipc_namespace",
    "uts_namespace",
    "read_only_root",
    "overlay",
    "disk_quota",
    "rlimits",
    "no_new_privs",
    "capabilities",
    "slot_uid",
    "landlock",
    "seccomp",
    "memory_cgroup",
    "pids_cgroup",
    "cpu_cgroup",
    "watchdog",
)

#: What a limit that bit is called; also the entry's status, but for `wall` (timeout) and `stderr` (output_limit).
Bit: TypeAlias = Literal["memory", "cpu", "disk", "processes", "output", "wall", "cancelled"]


@dataclass(frozen=True)
class BoxLimits:
    """The numbers that bind, after the operator's ceilings: for the whole tree unless said."""

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: float
    processes: int  # beside the plugin's own first one: 0 refuses fork
    threads: int  # in all
    open_files: int  # a process
    file_bytes: int  # a file
    disk_bytes: int
    inodes: int
    stderr_bytes: int
    result_bytes: int


@dataclass(frozen=True)
class Box:
    """One call's surroundings."""

    call_id: str  # [a-z0-9-]{1,40}: names cgroups and temporary folders
    tier: Tier
    limits: BoxLimits
    workspace: str  # absolute; lower layer of the overlay (strict), or the private copy itself (standard)
    package: str  # absolute; the plugin's folder, bound read-only
    sys_path: tuple[str, ...]  # for imports inside, each bound read-only; the package's parent is not among them
    binds: tuple[str, ...]  # further paths to bind read-only at their own place: libraries, granted programs
    programs: tuple[str, ...] = ()  # files that may be executed; none otherwise
    uid: int = -1  # slot to drop to; -1: stay (not root)
    gid: int = -1
    cgroups: dict[str, str] = field(default_factory=dict)  # controller -> folder that the host made for this call
    proxy: str = ""  # path of a unix socket outside; empty: no network
    off: tuple[
        str, ...
    ] = ()  # layers that are missing and permitted to be, or switched off by the attack suite's sharpness run
    work: str = "/work"  # where the plugin sees the workspace (standard tier: the copy's own path)

    @property
    def tmp(self) -> str:
        """Where the plugin's temporary files go: beside the private copy, where there is no private /tmp."""
        return "/tmp" if self.tier == "strict" else self.work.rpartition("/")[0] + "/tmp"

    def to_json(self) -> bytes:
        """Return the message."""
        return json.dumps({**vars(self), "limits": vars(self.limits)}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Box":
        """Read the message of our own host."""
        raw: dict[str, Any] = json.loads(text)
        raw["limits"] = BoxLimits(**raw["limits"])
        for name in ("sys_path", "binds", "programs", "off"):
            raw[name] = tuple(raw[name])
        return cls(**raw)


@dataclass(frozen=True)
class Ground:
    """What of a box is the same for the next call too, most likely: it can be built before that call is known."""

    tier: Tier
    uid: int
    gid: int
    sys_path: tuple[str, ...]
    binds: tuple[str, ...]
    off: tuple[str, ...]

    @classmethod
    def of(cls, box: Box) -> "Ground":
        """Return the ground that a box stands on."""
        return cls(box.tier, box.uid, box.gid, box.sys_path, box.binds, box.off)

    def make_box(self) -> Box:
        """Return a box that stands on it: no call's, but of the shape of one."""
        limits = BoxLimits(**dict.fromkeys((one.name for one in fields(BoxLimits)), 1))
        return Box("none", self.tier, limits, "/", "/", self.sys_path, self.binds, (), self.uid, self.gid, off=self.off)


@dataclass(frozen=True)
class Ended:
    """How the tree ended. `signal` is 0 unless the plugin's first process was killed."""

    exit_code: int
    signal: int
    bit: Bit | None  # the limit that ended it, as far as the monitor can tell
    peak_memory_bytes: int
    cpu_seconds: float
    disk_full: bool = False  # the quota's file system has no byte or inode left
    processes_refused: bool = False  # pids limit events, where a cgroup counts them
    detail: str = ""
    limit: str = ""  # the manifest's name of the limit that bit, where several share a bit; the host finds it


class LayerFailed(Exception):
    """A layer could not be installed; nothing of the plugin has run."""

    def __init__(self, layer: str, text: str) -> None:
        self.layer, self.text = layer, text
        super().__init__(f"{layer}: {text}")
