"""Tell others what happened to sessions: webhooks, signed, tried again, given up in the end, never sent into our own networks.

    outbox (in the session's own act)  ->  one delivery an endpoint  ->  tried when due  ->  arrived | put off | given up

A receiver that answers 410 is switched off. Deliveries arrive at least once, under an id that stays the same. Any
number of processes may deliver: each delivery is taken by one of them at a time.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.client import Client
from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import (
    ArchiveUnreachable,
    ConfigError,
    InputError,
    SessionNotFound,
    StoreError,
    Unreadable,
    suggest,
)
from orchestrator.contracts.session import Record
from orchestrator.contracts.webhooks import Delivery, Endpoint, HookEvent, WebhooksFile
from orchestrator.egress import DestinationRefused, resolve
from orchestrator.kernel.signatures import read_secret, sign
from orchestrator.settings_api import WebhookSettings
from orchestrator.store.outbox import Happened, Outbox
from orchestrator.telemetry import hide
from orchestrator.yaml_source import load

if TYPE_CHECKING:
    from httpx2 import AsyncClient

log = logging.getLogger(__name__)

#: How often a deliverer looks for what is new or due.
LOOK_SECONDS = 0.5

#: How long those that were taken may stand in line for their try, beyond one that times out before them.
BEGIN_SECONDS = 2.5

#: Waits that a person ends; of others nobody is told.
FOR_PEOPLE = frozenset({"approval", "input", "uncertain"})

_EVENTS: Mapping[str, HookEvent] = {
    "waiting": "session.waiting",
    "ended": "session.ended",
    "dead": "session.dead",
}

#: Renders a session for a delivery's body; the interface that tells others gives its own shape.
Shape = Callable[[Record], JsonObject]


def load_endpoints(path: Path, *, env: Mapping[str, str] | None = None) -> tuple[Endpoint, ...]:
    """Return the endpoints of a file; raise SourceInvalid, or ConfigError for a secret that cannot be used."""
    endpoints = load(WebhooksFile, path, env=env).webhooks
    for endpoint in endpoints:
        for secret in endpoint.secrets:
            hide(secret.get_secret_value())
            try:
                read_secret(secret.get_secret_value())
            except ValueError as error:
                raise ConfigError(f"{path}: webhook {endpoint.name}: {error}") from error
    return endpoints


class Webhooks:
    """The endpoints of one installation, and the deliverer that serves them."""

    def __init__(
        self,
        client: Client,
        endpoints: Sequence[Endpoint],
        settings: WebhookSettings,
        shape: Shape,
        *,
        dice: random.Random | None = None,
    ) -> None:
        self._client = client
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._settings = settings
        self._shape = shape
        self._outbox = Outbox(client.store)
        self._dice = dice or random.SystemRandom()
        self._http: AsyncClient | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints, in the order of their file."""
        return tuple(self._endpoints.values())

    async def run(self) -> None:
        """Deliver until cancelled; a store that is away, or an archive that is not the one, only delays it."""
        if not self._endpoints:
            return
        opened = False
        while True:
            try:
                if not opened:
                    await self._outbox.open()
                    opened = True
                busy = await self.look()
            except (StoreError, ConfigError) as error:
                log.warning("webhooks: %s", error)
                busy = False
            await asyncio.sleep(0 if busy else LOOK_SECONDS)

    async def open(self) -> None:
        """Begin to note what happens, where there is somebody to tell."""
        if self._endpoints:
            await self._outbox.open()

    async def look(self) -> bool:
        """Do one round: turn what happened into deliveries, try what is due; say whether there was anything.

        Raise ConfigError afterwards where a session is archived and we do not know where, ArchiveUnreachable where it cannot be
        read there: its event waits.
        """
        happened = await self._outbox.read()
        problem: ConfigError | ArchiveUnreachable | None = None
        for one in happened:
            try:
                await self._fan_out(one)
            except (ConfigError, ArchiveUnreachable) as error:
                problem = error
        # Longer than a try can take: whoever takes a delivery comes back to it before another may. What had no turn by the
        # time at which a try might outlast that is left to whoever takes it next.
        begin_until = asyncio.get_running_loop().time() + self._settings.timeout_seconds + BEGIN_SECONDS
        taken = await self._outbox.take(self._settings.timeout_seconds * 3 + 2 * BEGIN_SECONDS)
        turn = asyncio.Semaphore(self._settings.at_once)

        async def deliver(delivery: Delivery) -> None:
            async with turn:
                if asyncio.get_running_loop().time() < begin_until:
                    await self._deliver(delivery)

        await asyncio.gather(*(deliver(delivery) for delivery in taken))
        if problem is not None:
            raise problem
        return bool(happened or taken)

    async def _fan_out(self, happened: Happened) -> None:
        """Make the deliveries of one event, then forget it; doing it again makes the same ones."""
        event = _EVENTS.get(happened.phase)
        wanted = [
            endpoint
            for endpoint in self._endpoints.values()
            if event in endpoint.events and (not endpoint.apps or happened.app in endpoint.apps)
        ]
        if event is not None and wanted:
            data = await self._tell(happened)
            for endpoint in wanted if data is not None else ():
                await self._outbox.add(self._make(endpoint, event, happened, data), happened.at)
        await self._outbox.forget(happened)

    async def _tell(self, happened: Happened) -> JsonObject | None:
        """Return what is told of a session, None where there is nothing to tell."""
        try:
            record = await self._client.views.record(happened.session_id)
        except SessionNotFound:
            return None
        except Unreadable as error:
            # A newer Baton's, or a damaged one. Who waits for word of it must not wait for ever; a person is asked, or not,
            # whether this version can read the rest or not.
            (wait,) = await self._client.views.fields(happened.session_id, "wait")
            if happened.phase == "waiting" and _kind_of(wait) not in FOR_PEOPLE:
                return None
            return {
                "session_id": happened.session_id,
                "app": happened.app,
                "phase": happened.phase,
                "unreadable": str(error),
            }
        return self._shape(record) if _is_news(record, happened) else None

    def _make(self, endpoint: Endpoint, event: HookEvent, happened: Happened, data: JsonObject | None) -> Delivery:
        at = datetime.fromtimestamp(happened.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body: JsonObject = {"type": event, "timestamp": at, "data": data}
        return Delivery(
            delivery_id=f"{endpoint.name}.{happened.session_id}.{happened.seq}",
            endpoint=endpoint.name,
            event=event,
            session_id=happened.session_id,
            app=happened.app,
            seq=happened.seq,
            at=happened.at,
            body=dump_json(body),
        )

    async def _deliver(self, delivery: Delivery) -> None:
        endpoint = self._endpoints.get(delivery.endpoint)
        off = (await self._outbox.disabled()).get(delivery.endpoint)
        if off is not None:
            await self._outbox.give_up(
                delivery.model_copy(update={"last_error": f"the endpoint is switched off: {off}"})
            )
            return
        fault: str | None
        if endpoint is None:  # it is gone from the file, or a process that was started later has read a newer one
            fault, gone, wait = "the file that this process has read names no such endpoint", False, 0.0
        else:
            fault, gone, wait = await self._try(endpoint, delivery)
        if fault is None:
            await self._outbox.done(delivery)
            return
        tried = delivery.model_copy(update={"attempts": delivery.attempts + 1, "last_error": fault[:500]})
        if gone:
            await self._outbox.disable(delivery.endpoint, "it answered 410 Gone")
            log.warning("webhook %s: it answered 410 Gone and is switched off", delivery.endpoint)
        if gone or tried.attempts >= self._settings.attempts:
            log.warning(
                "webhook %s: %s given up after %d tries: %s",
                delivery.endpoint,
                tried.delivery_id,
                tried.attempts,
                fault,
            )
            await self._outbox.give_up(tried)
            return
        seconds = max(self._pause(tried.attempts), wait)
        now = await self._client.store.now_ms()
        await self._outbox.put_off(tried, now + int(seconds * 1000))

    def _pause(self, attempts: int) -> float:
        settings = self._settings
        seconds = min(settings.base_seconds * 2 ** (attempts - 1), settings.max_seconds)
        return float(seconds * (1 + settings.jitter * (2 * self._dice.random() - 1)))

    async def _try(self, endpoint: Endpoint, delivery: Delivery) -> tuple[str | None, bool, float]:
        """Send once; return what was wrong (None: it arrived), whether the receiver is gone, seconds that it asks for."""
        import httpx2

        if self._http is None:
            self._http = httpx2.AsyncClient(
                timeout=self._settings.timeout_seconds, follow_redirects=False, trust_env=False
            )
        body = delivery.body.encode()
        now = await self._client.store.now_ms()
        secrets = [secret.get_secret_value() for secret in endpoint.secrets]
        try:
            async with asyncio.timeout(self._settings.timeout_seconds * 2):
                where = await resolve(endpoint.url, allow_private=self._settings.allow_private)
                headers = {
                    "host": where.host_header,
                    "content-type": "application/json",
                    "user-agent": "Baton",
                    **sign(secrets, delivery.delivery_id, now // 1000, body),
                }
                extensions = {"sni_hostname": where.server_name}
                # Only the head of the answer is read: a receiver has nothing to tell us in its body.
                async with self._http.stream(
                    "POST", where.url, content=body, headers=headers, extensions=extensions
                ) as answer:
                    status = answer.status_code
                    after = answer.headers.get("retry-after", "")
        except DestinationRefused as error:
            return str(error), False, 0.0
        except (OSError, TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            return f"{type(error).__name__}: {error}", False, 0.0
        if 200 <= status < 300:
            return None, False, 0.0
        asked = min(float(after), self._settings.max_seconds) if after.isdecimal() and len(after) < 9 else 0.0
        return f"it answered {status}", status == 410, asked

    # --- for operators

    async def disabled(self) -> dict[str, str]:
        """Return the endpoints that are switched off, each with the reason."""
        return await self._outbox.disabled()

    async def enable(self, name: str) -> bool:
        """Switch an endpoint on again; return False where it was on. Raise InputError for an unknown one."""
        if name not in self._endpoints:
            raise InputError(f"webhook {name!r}: there is none; {suggest(name, self._endpoints)}")
        return await self._outbox.enable(name)

    async def undelivered(self) -> list[Delivery]:
        """Return what was given up, newest first."""
        return await self._outbox.undelivered()

    async def pending(self) -> int:
        """Return how many deliveries are on their way."""
        return await self._outbox.pending()

    async def replay(self, delivery_ids: Sequence[str]) -> list[str]:
        """Send given-up deliveries again, all of them where none is named; return which. Raise InputError for an unknown one."""
        known = {one.delivery_id: one for one in await self._outbox.undelivered()}
        for one in delivery_ids:
            if one not in known:
                raise InputError(f"delivery {one!r}: it was not given up; {suggest(one, known)}")
        now = await self._client.store.now_ms()
        chosen = list(delivery_ids) or list(known)
        for one in chosen:
            await self._outbox.replay(known[one], now)
        return chosen

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


def _kind_of(wait: str | None) -> str:
    """Return the kind of a wait as it is stored, "" where that cannot be read either."""
    try:
        found = load_json(wait or "")
    except ValueError:
        return ""
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else ""


def _is_news(record: Record, happened: Happened) -> bool:
    """Say whether an event is worth telling: of waits only those of a person, as long as they last."""
    if happened.phase != "waiting":
        return True
    return record.phase == "waiting" and record.wait is not None and record.wait.kind in FOR_PEOPLE
