"""What a step may reach: its app's code and services, the session's context, the client.

Built once a process and app (AppRuntime) and once a slice (World).
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import Message, ToolSchema
from orchestrator.contracts.ports import Toolbox
from orchestrator.contracts.session import PendingCall, Record
from workers.hooks import HookBook
from workers.models import Models, Use
from workers.plugins import PluginHost
from workers.steps.hook_run import HookRun
from workers.steps.watch import Watch
from workers.streaming import TokenSink


@dataclass(frozen=True, slots=True)
class AppRuntime:
    """One app in one process. `check_state` raises ToolError where a state does not fit its schema.

    `hooks` is None for an app that declares none.
    """

    spec: AppSpec
    digest: str
    models: Models
    toolbox: Toolbox
    load_function: Callable[[str], Callable[..., object]]
    check_state: Callable[[JsonObject], None]
    hooks: HookBook | None = None


async def _hold() -> None:
    """Without a lease there is none to lose: a rehearsal acts on nothing."""


@dataclass(slots=True)
class World:
    """One slice's surroundings.

    `hold` returns while the session is surely ours, and raises LeaseLost: ask it before what acts outside the store.
    `announced` are the intents that this very claim committed; `delivered` are messages of posts that
    the next commit will append to the context, and that a model must see already; `watch` ends steps that
    take too long; `begun` are the calls that this claim has made or is making, `unsent` the announced ones that surely
    reached no server; `plugins` runs plugins, None where this worker has no sandbox; `last_words` is what a step that was stopped leaves for the journal; `hooks` are the step's,
    None where its app has none; `uses` are the model calls of the step that runs, `sink` takes what they stream.
    """

    app: AppRuntime
    client: Client
    claimed_at: int
    started: float
    load_context: Callable[[], Awaitable[tuple[Message, ...]]]
    load_catalogue: Callable[[Record], Awaitable[tuple[str, Mapping[str, ToolSchema]]]]
    intents: dict[str, PendingCall] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    unsent: list[str] = field(default_factory=list)
    delivered: tuple[Message, ...] = ()
    watch: Watch = field(default_factory=Watch)
    plugins: PluginHost | None = None
    last_words: JsonObject = field(default_factory=dict)
    hooks: HookRun | None = None
    uses: list[Use] = field(default_factory=list)
    sink: TokenSink | None = None
    hold: Callable[[], Awaitable[None]] = _hold

    @property
    def spec(self) -> AppSpec:
        """The app's declaration."""
        return self.app.spec

    async def messages(self) -> tuple[Message, ...]:
        """Return the whole context as the next commit will leave it, but for the step's own words."""
        return (*await self.load_context(), *self.delivered)

    def now(self) -> int:
        """Return the store's time in milliseconds, as far as this process can tell."""
        return self.claimed_at + int((time.monotonic() - self.started) * 1000)
