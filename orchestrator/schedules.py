"""The clock's triggers: submit a session when a schedule's time has come.

Every scheduler looks. A time is submitted under a key made of itself, so that any number of schedulers start one session; what was
handled last is kept in the store. Of times that passed meanwhile the latest is made up for, if it is not too old.
A trigger that fails is logged and tried again at the next look; the others go on. So it is with one whose transform takes long:
what it says counts at a later look.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import AppCodeFailed, ConfigError, InputError, KeyConflict
from orchestrator.contracts.own_keys import OwnKey
from orchestrator.contracts.triggers import ScheduleTrigger, TriggerRequest
from orchestrator.kernel.cron import last_time, next_time
from orchestrator.store.keys import SCHEDULES
from orchestrator.store.store import Store
from orchestrator.triggers import build_request, submit_request

log = logging.getLogger(__name__)

#: How long a time is known by its key: longer than any scheduler's view of it may be late.
KEY_SECONDS = 8 * 86_400

#: What a scheduler that lives may be late by; it does not count as missed.
LATE_MS = 60_000

#: How long a transform is waited for at one look: whoever looks wakes sessions, too.
PATIENCE_SECONDS = 1.0


class Schedules:
    """The schedules of the loaded apps."""

    def __init__(self, store: Store, client: Client, specs: Mapping[str, AppSpec]) -> None:
        self._store = store
        self._client = client
        self._triggers = [
            (spec, trigger)
            for spec in specs.values()
            for trigger in spec.triggers
            if isinstance(trigger, ScheduleTrigger)
        ]
        self._next: dict[str, int | None] = {}
        self._looked_at = 0
        self._building: dict[str, asyncio.Task[TriggerRequest]] = {}

    async def look(self) -> list[str]:
        """Submit what is due; return the sessions."""
        if not self._triggers:
            return []
        now = await self._store.now_ms()
        if now < self._looked_at:  # the server's clock went back: what comes next is another time
            self._next.clear()
        self._looked_at = now
        started = []
        for spec, trigger in self._triggers:
            known = self._next.get(trigger.name, 0)
            if known is None or known > now:
                continue
            try:
                session_id = await self._look_at(spec, trigger, now)
            except (InputError, ConfigError) as error:
                log.warning("schedule %s of %s: %s; tried again at the next look", trigger.name, spec.name, error)
                continue
            if session_id is not None:
                started.append(session_id)
        return started

    async def _look_at(self, spec: AppSpec, trigger: ScheduleTrigger, now: int) -> str | None:
        """Submit the latest time that has passed, if there is one; remember when the next one comes."""
        await self._store.command("HSETNX", SCHEDULES, trigger.name, now)  # one that is new begins now
        handled = int(await self._store.command("HGET", SCHEDULES, trigger.name) or now)
        if handled > now + LATE_MS:  # by a clock that ran ahead; what was begun under its time's key is not begun twice
            handled = now
            await self._store.command("HSET", SCHEDULES, trigger.name, now)
        zone = ZoneInfo(trigger.timezone)
        latest = last_time(trigger.schedule, now, zone)
        session_id = None
        if latest is not None and latest > handled:
            if now - latest <= trigger.catch_up_seconds * 1000 + LATE_MS:
                session_id = await self._submit(spec, trigger, latest)
            await self._store.command("HSET", SCHEDULES, trigger.name, latest)
        self._next[trigger.name] = next_time(trigger.schedule, now, zone)
        return session_id

    async def _submit(self, spec: AppSpec, trigger: ScheduleTrigger, at: int) -> str | None:
        """Submit one time's session; None where another scheduler has done it."""
        request = await self._build(spec, trigger)
        key = OwnKey.SCHEDULE.make(trigger.name, f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%MZ}")
        try:
            made = await submit_request(self._client, spec, trigger, request, key=key, key_seconds=KEY_SECONDS)
        except KeyConflict:  # another scheduler was quicker, and its transform said something else
            return None
        return made.session_id if made.created else None

    async def _build(self, spec: AppSpec, trigger: ScheduleTrigger) -> TriggerRequest:
        """Return what a schedule's payload comes to; raise AppCodeFailed where its transform is still at it."""
        building = self._building.get(trigger.name)
        patience = 0.0
        if building is None:
            building = asyncio.create_task(build_request(spec, trigger, {**trigger.payload}))
            self._building[trigger.name], patience = building, PATIENCE_SECONDS
        await asyncio.wait([building], timeout=patience)
        if not building.done():
            raise AppCodeFailed(f"app {spec.name}: {trigger.transform!r} is still at it; make it shorter")
        del self._building[trigger.name]
        return building.result()
