"""Real processes for a test: workers, schedulers and an API that can be killed, stopped and started again, all ended by pid.

Every process leads a process group of its own, so that the children of a pool that forks end with it. Nothing here
looks at sessions; the ledger does.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from orchestrator.settings import Settings

ENTRY = Path(__file__).parent / "process.py"
APPS = Path(__file__).parent / "apps"


def quick_settings(apps: Path = APPS, **sections: dict[str, Any]) -> Settings:
    """Return settings under which a death is noticed in seconds."""
    quick: dict[str, dict[str, Any]] = {
        "apps": {"path": [str(apps)], "bundled": False},
        "lease": {"seconds": 3.0, "renew_seconds": 1.0},
        "scheduler": {"tick_seconds": 0.1, "idle_tick_seconds": 0.2, "resend_seconds": 0.5, "leader_seconds": 1.0},
        "worker": {"heartbeat_seconds": 0.5, "grace_seconds": 5.0},
        "retry": {"base_seconds": 0.2, "max_seconds": 1.0},
    }
    for name, values in sections.items():
        quick[name] = {**quick.get(name, {}), **values}
    return Settings.model_validate(quick)


async def pause(seconds: float) -> None:
    """Let the others work for a while: the pace of a script of events, never a guess at how long something takes."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


@dataclass
class Member:
    """One process of the fleet."""

    role: str
    pool: str
    process: "subprocess.Popen[bytes]"
    log: Path
    slot: str = ""
    stopped: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Return the group's leader."""
        return self.process.pid

    def pids(self) -> list[int]:
        """Return the process and its children, as far as they live."""
        try:
            own = psutil.Process(self.pid)
            return [own.pid, *(child.pid for child in own.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def kill(self) -> None:
        """End the whole group at once, and wait for its leader."""
        self.signal(signal.SIGKILL)
        self.process.wait(timeout=60)


@dataclass
class Fleet:
    """All processes of one test."""

    store: str
    broker: str
    settings: Settings
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    dropped: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    history: Path | None = None
    #: By the name of a slot: the store, the broker and the clock's file of whoever runs there, where they differ.
    places: dict[str, tuple[str, str, Path]] = field(default_factory=dict)
    #: Where whoever is the API listens, over all its lives.
    port: int = 0
    #: Slots where whoever starts is one of a newer Baton (newer.py).
    upgraded: set[str] = field(default_factory=set)
    members: list[Member] = field(default_factory=list)
    started: int = 0

    def start(
        self,
        role: str,
        *,
        pool: str = "threads",
        concurrency: int = 2,
        plugins: bool = False,
        slot: str = "",
        **env: str,
    ) -> Member:
        """Start a process; a worker with `plugins` has a sandbox and takes their line, too."""
        self.started += 1
        store, broker, clock = self.places.get(slot, (self.store, self.broker, None))
        order = {
            "role": role,
            "store": store,
            "broker": broker,
            "clock": str(clock or ""),
            "history": str(self.history or ""),
            "settings": self.settings.model_dump(mode="json"),
            "pool": pool,
            "concurrency": concurrency,
            "plugins": plugins,
            "seed": self.seed,
            "dropped": self.dropped,
            "doubled": self.doubled,
            "late": self.late,
            "newer": slot in self.upgraded,
            "port": self.port,
            "config": str(self.folder / f"{self.started:03d}-{role}"),
        }
        log = self.folder / f"{self.started:03d}-{role}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, str(ENTRY), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.env, **env},
            )
        member = Member(role, pool, process, log, slot)
        self.members.append(member)
        return member

    def kill(self, member: Member) -> None:
        """Kill a process and forget it."""
        self.members.remove(member)
        member.kill()

    def replace(self, member: Member) -> Member:
        """Kill a process and start its like."""
        self.kill(member)
        return self.start(member.role, pool=member.pool, slot=member.slot)

    def terminate(self, member: Member, seconds: float = 120) -> int:
        """Ask a process to end, and return its exit code."""
        self.members.remove(member)
        member.process.send_signal(signal.SIGTERM)
        try:
            return member.process.wait(timeout=seconds)
        finally:
            member.signal(signal.SIGKILL)

    def of(self, role: str) -> list[Member]:
        """Return the processes of a role."""
        return [member for member in self.members if member.role == role]

    def close(self) -> None:
        """End every process, whatever happened."""
        for member in self.members:
            member.signal(signal.SIGKILL)
        for member in self.members:
            member.process.wait(timeout=60)

    def logs(self) -> str:
        """Return what the processes said that is worth reading after a failure."""
        parts = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(parts)[-20_000:]


@contextmanager
def fleet_of(store: str, broker: str, folder: Path, **parts: Any) -> Iterator[Fleet]:
    """Lend a fleet; its processes are ended by pid, whatever happens. A failure shows what they said."""
    settings = parts.pop("settings", None) or quick_settings()
    fleet = Fleet(store, broker, settings, folder, **parts)
    try:
        yield fleet
    except BaseException:
        print(f"seed {fleet.seed}\n{fleet.logs()}")
        raise
    finally:
        fleet.close()
