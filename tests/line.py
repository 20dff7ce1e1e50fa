"""A store with sessions in line, real schedulers that look at it, and a broker that only takes down what it is sent."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.app_loader import load_app
from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.session import Priority
from orchestrator.scheduler import Scheduler
from orchestrator.settings import Settings
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.store.store import Store
from tests.property.store_lab import entry

PLAIN = load_app(Path(__file__).parent / "chaos" / "apps" / "plain")
SECONDS = 60.0


@dataclass
class Taken:
    """A broker that keeps what it is sent; `lying` is what it says of its lists, `away` that it refuses."""

    sent: list[str] = field(default_factory=list)
    lying: int = 0
    away: bool = False

    def send(self, queue: str, session_ids: Sequence[str]) -> None:
        """Take them down, or refuse."""
        if self.away:
            raise OSError("broker: away")
        self.sent.extend(session_ids)

    def backlog(self, queue: str) -> int:
        """Say what it was told to say, or refuse."""
        if self.away:
            raise OSError("broker: away")
        return self.lying


@dataclass
class Line:
    """A store with sessions in line, and schedulers that look at it."""

    store: Store
    client: Client
    settings: Settings
    specs: Mapping[str, AppSpec]
    leases: Leases

    def scheduler(self, name: str, broker: Taken) -> Scheduler:
        """Return another scheduler."""
        return Scheduler(name, self.store, self.client, broker, self.settings, self.specs)

    async def submit(self, app: str, count: int, priority: Priority = "normal") -> list[str]:
        """Put sessions in line, in this order."""
        found = []
        for _ in range(count):
            submitted = await self.client.submit(app, overrides={}, actor="ada", priority=priority)
            found.append(submitted.session_id)
        return found

    async def work(self, session_id: str) -> Claimed:
        """Take a session, as a worker does with a wake-up."""
        digests = tuple(spec.digest() for spec in self.specs.values())
        claimed = await self.leases.claim(session_id, f"w:{session_id}", digests)
        assert isinstance(claimed, Claimed)
        return claimed

    async def end(self, claimed: Claimed) -> None:
        """Let a worker be done with a session."""
        commit = Commit("finalizing", {}, (entry(),))
        await self.leases.commit(claimed.record.session_id, claimed.record.fence, claimed.record.rev, commit)

    async def slots(self, count: int) -> None:
        """Let a worker with so many lanes be alive."""
        await self.client.fleet.beat(WorkerInfo(name="w", slots=count))


@asynccontextmanager
async def line(url: str, **apps: dict[str, object]) -> AsyncIterator[Line]:
    """Lend a line for these apps; their values are fields of their specs."""
    specs = {name: PLAIN.model_copy(update={"name": name, **parts}) for name, parts in apps.items()}
    settings = Settings.model_validate({"apps": {"bundled": False}, "scheduler": {"resend_seconds": 300}})
    store = Store(url)
    try:
        async with asyncio.timeout(SECONDS):
            yield Line(
                store,
                Client(store, specs, beat_seconds=60),
                settings,
                specs,
                Leases(store, lease_seconds=300, max_attempts=3),
            )
    finally:
        await store.aclose()
