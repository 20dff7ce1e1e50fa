"""A stage for whole sessions: a real store, real executors, no Celery in between.

A Stage plays one or several workers on one event loop: `run` takes a session's slices until
nothing is left to do now. Time is the store's; `skip_to_due` makes the clock irrelevant by moving
a session's due time into the past, as the store itself would see it later.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from orchestrator.app_loader import load_app
from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.session import Record
from orchestrator.settings import Settings
from orchestrator.store.due import Due
from orchestrator.store.store import Store
from workers.composition import build_app
from workers.executor import Executor
from workers.host import Host
from workers.plugins import PluginHost

EVERYTHING = Path(__file__).parent / "apps" / "everything"
T = TypeVar("T")


class Stage:
    """One store with its client, and workers made at will."""

    def __init__(self, url: str, settings: Settings, specs: Mapping[str, AppSpec]) -> None:
        self.settings = settings
        self.specs = specs
        self.store = Store(url, partitions=settings.store.partitions, patience_seconds=2)
        self.client = Client(self.store, specs)
        self.due = Due(self.store)
        self.hosts: list[Host] = []
        self.woken: list[str] = []

    def worker(
        self,
        name: str = "worker",
        specs: Mapping[str, AppSpec] | None = None,
        *,
        plugins: PluginHost | None = None,
        steps: bool = True,
    ) -> Executor:
        """Return another worker's executor; with `plugins`, one that takes steps that run plugins."""
        apps = {app: build_app(spec, self.settings) for app, spec in (specs or self.specs).items()}
        host = Host(
            name=f"{name}-{len(self.hosts)}",
            settings=self.settings,
            store=self.store,
            client=Client(self.store, specs or self.specs),
            apps=apps,
            wake_later=lambda session_id, _: self.woken.append(session_id),
            plugins=plugins,
        )
        self.hosts.append(host)
        return Executor(host, is_contended=lambda: False, is_draining=lambda: False, steps=steps)

    async def submit(self, entry_skill: str = "start", **state: object) -> str:
        """Submit a session of the test app."""
        submitted = await self.client.submit(
            "everything", text="go on", overrides=dict(state), actor="ada", entry_skill=entry_skill
        )
        return submitted.session_id

    async def run(self, executor: Executor, session_id: str) -> Record:
        """Run slices until the session waits or is settled."""
        for _ in range(20):
            await executor.run_slice(session_id)
            record = await self.client.show(session_id)
            if record.phase in {"waiting", "ended", "dead"}:
                return record
        raise AssertionError(f"{session_id} does not come to rest: {record}")

    async def skip_to_due(self, session_id: str) -> None:
        """Let the session's waiting time be over now."""
        key = self.store.keys.of_session("due", session_id)
        assert await self.store.command("ZADD", key, "XX", "CH", 1, session_id) == 1
        record_key = self.store.keys.of_session("record", session_id)
        wait = (await self.client.show(session_id)).wait
        assert wait is not None
        await self.store.command("HSET", record_key, "wait", wait.model_copy(update={"deadline_at": 1}).to_json())
        assert await self.due.wake(session_id)

    async def lose_lease(self, session_id: str) -> None:
        """Let the session's lease be over now, as if its holder had died."""
        key = self.store.keys.of_session("leases", session_id)
        assert await self.store.command("ZADD", key, "XX", "CH", 1, session_id) == 1
        assert await self.due.rescue(session_id)

    async def aclose(self) -> None:
        """Close everything that the workers opened."""
        for host in self.hosts:
            for app in host.apps.values():
                await app.models.aclose()
                await app.toolbox.aclose()
        await self.store.aclose()

    async def kinds(self, session_id: str) -> list[str]:
        """Return the journal as step kinds and entry kinds."""
        return [entry.step or entry.kind async for entry in self.client.events(session_id)]


@asynccontextmanager
async def stage(url: str, settings: Settings | None = None) -> AsyncIterator[Stage]:
    """Lend a stage with the test app."""
    spec = load_app(EVERYTHING)
    made = Stage(url, settings or Settings(), {spec.name: spec})
    try:
        yield made
    finally:
        await made.aclose()


def play(url: str, scene: Callable[[Stage], Awaitable[T]], settings: Settings | None = None) -> T:
    """Run a scene on a stage of its own; return what it returns."""

    async def run() -> T:
        async with stage(url, settings) as made:
            return await scene(made)

    return asyncio.run(run())
