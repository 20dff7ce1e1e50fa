"""One worker's parts on a real store, without Celery: for tests of what a slice does, and when it stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.skill import ComputeStep, Route
from orchestrator.settings import Settings
from tests.stage import Stage
from workers.executor import Executor, SliceEnd
from workers.heartbeat import Heartbeat
from workers.host import Host
from workers.lanes import Lanes

PLAIN = Path(__file__).parents[2] / "chaos" / "apps" / "plain"
SECONDS = 60.0


@dataclass
class Step:
    """The one step of the test's app: the test says when it ends, and how."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    result: Any = None
    error: BaseException | None = None
    cancelled: int = 0
    runs: int = 0

    async def run(self, state: dict[str, Any]) -> Any:
        """Begin, wait for the test's word, end as it says."""
        self.runs += 1
        self.began.set()
        self.begun.put_nowait(self.runs)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.result(state) if callable(self.result) else self.result


@dataclass
class Scene:
    """A stage with one worker of which every part can be reached."""

    on: Stage
    host: Host
    executor: Executor
    heartbeat: Heartbeat
    step: Step
    contended: bool = False
    draining: bool = False

    async def wait_for_run(self, number: int) -> None:
        """Return once the step has begun so often."""
        while await self.step.begun.get() < number:
            pass

    async def submit(self, **state: Any) -> str:
        """Submit a session of the test's app."""
        return (await self.on.client.submit("plain", overrides=state, actor="ada")).session_id

    def start(self, session_id: str) -> "asyncio.Task[SliceEnd]":
        """Begin a slice."""
        return asyncio.create_task(self.executor.run_slice(session_id))

    async def renew(self) -> None:
        """Beat once: renew every lease, bring back cancels."""
        await self.heartbeat.renew_all()


@asynccontextmanager
async def scene(url: str, *, settings: Settings | None = None, **changes: Any) -> AsyncIterator[Scene]:
    """Lend a scene whose app has one compute step, performed by `Step`; `changes` are fields of its spec."""
    spec: AppSpec = load_app(PLAIN).model_copy(update=changes)
    stage = Stage(url, settings or Settings.model_validate({"apps": {"bundled": False}}), {"plain": spec})
    stage.worker()
    host, step = stage.hosts[0], Step()
    runtime = host.apps["plain"]
    host.apps = {"plain": replace_function(runtime, step.run)}
    made: Scene
    executor = Executor(host, is_contended=lambda: made.contended, is_draining=lambda: made.draining)
    lanes = Lanes(4, executor.run_slice)
    made = Scene(stage, host, executor, Heartbeat(host, executor, lanes, queues=("steps",)), step)
    try:
        async with asyncio.timeout(SECONDS):
            yield made
    finally:
        await stage.aclose()


def replace_function(runtime: Any, function: Callable[..., Awaitable[Any]]) -> Any:
    """Return an app's runtime whose every compute step is this function."""
    import dataclasses

    return dataclasses.replace(runtime, load_function=lambda _: function)


def compute(name: str, *routes: tuple[str, str]) -> ComputeStep:
    """Return a compute step with routes."""
    return ComputeStep(name=name, call="steps.py:work", routes=tuple(Route(when=when, next=to) for when, to in routes))
