"""The sessions of monitors: see to it that each has its own of today (kernel/monitoring.py).

Every scheduler looks. A day's session is submitted under a key made of the day, so that any number of schedulers start one.
A monitor whose session cannot be submitted is told in the log, once, and stops nobody: not the other monitors, and not
the scheduler that looks.
"""

import logging
from collections.abc import Mapping

from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import ConfigError, InputError, KeyConflict
from orchestrator.kernel.monitoring import watch_key
from orchestrator.store.store import Store

log = logging.getLogger(__name__)

#: How long a monitor's session of today is known by its key.
DAY_SECONDS = 2 * 86_400


class Watches:
    """The monitors of the loaded apps."""

    def __init__(self, store: Store, client: Client, specs: Mapping[str, AppSpec]) -> None:
        self._store = store
        self._client = client
        self._monitors = [
            (app, skill.name)
            for app, spec in specs.items()
            for skill in spec.skills.values()
            if skill.kind == "monitor"
        ]
        self._known: set[str] = set()

    async def look(self) -> None:
        """Submit what has no session of today; whichever scheduler does it, there is one."""
        if not self._monitors:
            return
        now = await self._store.now_ms()
        keys = {(app, skill): f"{app}/{watch_key(skill, now)}" for app, skill in self._monitors}
        for (app, skill), known in keys.items():
            if known not in self._known:
                await self._begin(app, skill, watch_key(skill, now))
        self._known = set(keys.values())

    async def _begin(self, app: str, skill: str, key: str) -> None:
        try:
            await self._client.submit(
                app, actor=f"monitor:{skill}", key=key, key_seconds=DAY_SECONDS, entry_skill=skill
            )
        except KeyConflict as error:  # begun by another version of the app, or by another Baton: it is at work
            log.info("monitor %s of %s: today it is watched by %s, which began otherwise", skill, app, error.session_id)
        except (InputError, ConfigError) as error:
            log.warning("monitor %s of %s: not at work today: %s", skill, app, error)
