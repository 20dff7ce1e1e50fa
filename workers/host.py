"""What one worker process has: its name, settings, store, apps - what the executor works with."""

import logging
import time
from collections.abc import Callable, Mapping
from uuid import uuid4

from pydantic import ValidationError

from orchestrator.client import Client
from orchestrator.contracts.errors import ToolUnavailable
from orchestrator.contracts.messages import Message, ToolSchema
from orchestrator.contracts.session import Post, Record
from orchestrator.settings import Settings
from orchestrator.store.catalogues import Catalogues
from orchestrator.store.leases import Claimed, Leases
from orchestrator.store.store import Store
from workers.contexts import ContextCache
from workers.plugins import PluginHost
from workers.steps.world import AppRuntime, World

log = logging.getLogger(__name__)


class Host:
    """One process's wired parts. `wake_later` sends a wake-up for a session that we just handed on.

    With `plugins` it takes steps that run plugins; without, it hands such sessions on to those who do.
    """

    def __init__(
        self,
        *,
        name: str,
        settings: Settings,
        store: Store,
        client: Client,
        apps: Mapping[str, AppRuntime],
        wake_later: Callable[[str, str], None],
        plugins: PluginHost | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.store = store
        self.client = client
        self.apps = apps
        self.wake_later = wake_later
        self.plugins = plugins
        self.leases = Leases(store, lease_seconds=settings.lease.seconds, max_attempts=settings.lease.max_attempts)
        self.contexts = ContextCache()
        self._opened = 0
        self.catalogues = Catalogues(store)
        self.paused: frozenset[str] = frozenset()
        self.digests = tuple(app.digest for app in apps.values())
        self.resend_ms = int(settings.scheduler.resend_seconds * 1000)

    def is_paused(self, app: str, queue: str) -> bool:
        """Say whether an operator has paused an app or a queue, as the last heartbeat read it."""
        return bool(self.paused) and (f"app:{app}" in self.paused or f"queue:{queue}" in self.paused)

    def new_holder(self) -> str:
        """Return a holder text that no other claim ever had."""
        return f"{self.name}:{uuid4().hex[:12]}"

    def new_world(self, app: AppRuntime, claimed: Claimed) -> World:
        """Return the surroundings of one slice."""
        session_id = claimed.record.session_id
        if self._opened != self.store.wire.opened:
            self._opened = self.store.wire.opened
            self.contexts.clear()
        self.contexts.start(session_id, claimed.messages, claimed.context_length)

        async def load_context() -> tuple[Message, ...]:
            known = self.contexts.messages(session_id)
            return known if known is not None else await self.client.views.context(session_id)

        async def load_catalogue(record: Record) -> tuple[str, Mapping[str, ToolSchema]]:
            return await self._catalogue(app, record)

        return World(
            app=app,
            client=self.client,
            claimed_at=claimed.claimed_at,
            started=time.monotonic(),
            load_context=load_context,
            load_catalogue=load_catalogue,
            intents=dict(claimed.intents),
            plugins=self.plugins,
        )

    async def _catalogue(self, app: AppRuntime, record: Record) -> tuple[str, Mapping[str, ToolSchema]]:
        """Return the tools as the session first saw them, so that a server's outage hides none."""
        if record.catalogue:
            kept = await self.catalogues.load(record.catalogue)
            if kept is not None:
                return record.catalogue, kept
        live = await app.toolbox.catalogue()
        if not live and app.spec.mcp_servers:
            raise ToolUnavailable(f"app {app.spec.name}: its servers offer no tool; are they up?")
        return await self.catalogues.keep(live), live

    async def read_posts(self, session_id: str) -> tuple[Post, ...] | None:
        """Return the mailbox of a session that we hold, None where a post cannot be read."""
        key = self.store.keys.of_session("mailbox", session_id)
        try:
            return tuple(Post.from_json(post) for post in await self.store.command("LRANGE", key, 0, -1))
        except ValidationError as error:
            log.warning(
                "session %s: a post cannot be read (%d faults); left to others", session_id, error.error_count()
            )
            return None
