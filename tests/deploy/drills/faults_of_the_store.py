"""Faults of the store's server and of the archive: dead, restarted, read-only, full, not durable, away."""

import resource
import signal
import sqlite3
from datetime import UTC, datetime
from typing import Any

import psutil

from orchestrator.interfaces.cli.doctor_server import RESTART_SECONDS
from tests.deploy.drills.drill import Drill, Values
from tests.deploy.drills.lab import Lab, wait_until


class ServerRestarted(Drill):
    """The server restarts under everybody."""

    page = "store_restarted"

    def prepare(self, lab: Lab) -> None:
        def is_old(one: dict[str, Any]) -> bool:
            age = datetime.now(UTC) - datetime.fromisoformat(one["started_at"])
            return age.total_seconds() > RESTART_SECONDS + 2

        # A busy machine may start them long after their server.
        wait_until(lambda: any(is_old(one) for one in lab.workers()), "somebody is older than a moment")

    def inject(self, lab: Lab) -> Values:
        lab.submit(seconds=1)
        lab.submit(skill="later")
        lab.server.stop(signal.SIGTERM)
        lab.server.start()
        return {}


class ServerKilled(Drill):
    """The server is killed; what it acknowledged is in its append-only file."""

    page = "store_down"

    def inject(self, lab: Lab) -> Values:
        # With everysec a write may wait for the disk after it was acknowledged; a kill in that moment loses it, as documented.
        lab.server.ask("CONFIG SET appendfsync always")
        lab.submit(seconds=1)
        lab.submit(skill="later")
        lab.server.stop(signal.SIGKILL)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.server.start()


class Replica(Drill):
    """A failover went elsewhere: this server takes no writes any more."""

    page = "store_read_only"
    branch = "replica"

    def inject(self, lab: Lab) -> Values:
        lab.submit(seconds=0.5)
        lab.server.ask("REPLICAOF 127.0.0.1 1")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.server.ask("REPLICAOF NO ONE")


class OutOfMemory(Drill):
    """The server is at its limit, and refuses what would grow it."""

    page = "store_read_only"
    branch = "memory"

    def inject(self, lab: Lab) -> Values:
        lab.submit(seconds=0.5)
        lab.server.ask("CONFIG SET maxmemory 1mb")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.server.ask("CONFIG SET maxmemory 0")


class AppendOnlyOff(Drill):
    """Somebody switched the append-only file off."""

    page = "store_not_durable"
    branch = "off"

    def inject(self, lab: Lab) -> Values:
        lab.server.ask("CONFIG SET appendonly no")
        lab.submit()
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.server.ask("CONFIG SET appendonly yes")


class DiskFull(Drill):
    """The append-only file cannot grow: its process may write no larger file."""

    page = "store_not_durable"
    branch = "disk"

    def _limit(self, lab: Lab, size: int) -> None:
        assert lab.server.process is not None
        server = psutil.Process(lab.server.process.pid)
        server.rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def inject(self, lab: Lab) -> Values:
        lab.submit(seconds=0.5)
        self._limit(lab, 1)
        return {}

    def by_hand(self, lab: Lab) -> None:
        self._limit(lab, resource.RLIM_INFINITY)


class MemoryHigh(Drill):
    """The server is close to its limit."""

    page = "store_memory_high"

    def inject(self, lab: Lab) -> Values:
        used = int(lab.metric("baton_store_memory_bytes"))
        lab.server.ask(f"CONFIG SET maxmemory {int(used * 1.12)}")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.server.ask("CONFIG SET maxmemory 0")


class ArchiveAway(Drill):
    """Somebody holds the archive's database, so that nothing can be moved into it."""

    page = "archive_stands"

    def inject(self, lab: Lab) -> Values:
        self.holder = sqlite3.connect(lab.archive / "archive.db", isolation_level=None)
        self.holder.execute("BEGIN EXCLUSIVE")
        lab.submit()
        return {}

    def by_hand(self, lab: Lab) -> None:
        self.holder.rollback()
        self.holder.close()
