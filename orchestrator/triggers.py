"""Start sessions by triggers: who sends, what the payload comes to, and one session for one key.

A key that is known is answered by its session, and the app's transform is not asked again. A start that fails leaves no
key behind, so the same one may be sent again (store/intake.py). The clock's own triggers are in `schedules`.
"""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from pydantic import BaseModel, JsonValue, ValidationError

from orchestrator.app_code import call_function, load_function, load_object
from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import load_json
from orchestrator.contracts.errors import (
    AppCodeFailed,
    ConfigError,
    InputError,
    KeyConflict,
    NotPermitted,
    suggest,
)
from orchestrator.contracts.own_keys import OwnKey
from orchestrator.contracts.triggers import Trigger, TriggerRequest, WebhookTrigger
from orchestrator.kernel.signatures import ID_HEADER, find_fault, read_secret
from orchestrator.store.intake import Submitted
from orchestrator.telemetry import hide


class UnknownTrigger(InputError):
    """No loaded app has a webhook of that name."""


class SenderRefused(NotPermitted):
    """The sender did not say who it is, or not so that it can be believed."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A webhook trigger, its app, and its secrets."""

    spec: AppSpec
    trigger: WebhookTrigger
    secrets: tuple[str, ...]


class Triggers:
    """The webhook triggers of the loaded apps. Raise ConfigError for a secret that is not set."""

    def __init__(self, client: Client, env: Mapping[str, str]) -> None:
        self._client = client
        for spec in client.specs.values():
            _load_code(spec)  # what is not there is told at the start, and not to the first sender
        self._bound = {
            trigger.name: Bound(spec, trigger, read_secrets(spec, trigger, env))
            for spec in client.specs.values()
            for trigger in spec.triggers
            if isinstance(trigger, WebhookTrigger)
        }

    def find(self, name: str) -> Bound:
        """Return a trigger; raise UnknownTrigger."""
        found = self._bound.get(name)
        if found is None:
            raise UnknownTrigger(f"trigger {name!r}: no app has such a webhook; {suggest(name, self._bound)}")
        return found

    def check_sender(self, bound: Bound, headers: Mapping[str, str], body: bytes, now_seconds: float) -> None:
        """Raise SenderRefused unless the sender proves itself as the trigger asks. Header names are lower case.

        `auth: token` is the caller's to check, for it knows the tokens.
        """
        name = bound.trigger.name
        if bound.trigger.auth == "bearer":
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not given:
                raise SenderRefused(f"trigger {name}: missing bearer; send `Authorization: Bearer SECRET`")
            fits = [hmac.compare_digest(given.strip().encode(), secret.encode()) for secret in bound.secrets]
            if not any(fits):
                raise SenderRefused(f"trigger {name}: invalid bearer; compare it with {_variables(bound)}")
        if bound.trigger.auth == "signature":
            fault = find_fault(bound.secrets, headers, body, now_seconds)
            if fault is not None:
                raise SenderRefused(f"trigger {name}: {fault}; sign as Standard Webhooks do, with {_variables(bound)}")

    async def start(self, bound: Bound, headers: Mapping[str, str], body: bytes) -> Submitted:
        """Start the session that a payload asks for, or return the one that its key started before."""
        trigger = bound.trigger
        key = headers.get(ID_HEADER)
        if trigger.auth != "signature":  # there, what is not signed could make a message that was overheard a new one
            key = headers.get("idempotency-key") or key
        if key is not None and not (1 <= len(key) <= 150 and key.isascii() and key.isprintable()):
            raise InputError(f"trigger {trigger.name}: a key has 1 to 150 printable ASCII characters; mend it")
        full = None if key is None else OwnKey.TRIGGER.make(trigger.name, key)
        if full is not None and (known := await self._client.find_by_key(bound.spec.name, full)) is not None:
            return Submitted(known, created=False)
        payload = _read_payload(bound, body)
        request = await build_request(bound.spec, trigger, payload)
        try:
            return await submit_request(
                self._client, bound.spec, trigger, request, key=full, key_seconds=trigger.idempotency_ttl_hours * 3600
            )
        except KeyConflict as error:  # somebody was quicker with this key: theirs is the session
            return Submitted(error.session_id, created=False)


async def submit_request(
    client: Client, spec: AppSpec, trigger: Trigger, request: TriggerRequest, *, key: str | None, key_seconds: int
) -> Submitted:
    """Submit what a trigger asks for, in the trigger's name."""
    return await client.submit(
        spec.name,
        text=request.text,
        overrides=request.state,
        actor=f"trigger:{trigger.name}",
        key=key,
        key_seconds=key_seconds if key is not None else None,
        priority=request.priority or trigger.priority,
        entry_skill=request.skill or trigger.skill,
    )


async def build_request(spec: AppSpec, trigger: Trigger, payload: object) -> TriggerRequest:
    """Return what a payload comes to: the transform's answer, or the payload itself.

    Raise InputError where the payload is refused, AppCodeFailed where the app's code fails otherwise.
    """
    if trigger.transform is not None:
        function = load_function(spec, trigger.transform)
        try:
            payload = await asyncio.to_thread(call_function, partial(function, payload), own=(ValueError, TypeError))
        except (ValueError, TypeError) as error:  # the transform's own way to refuse a payload
            raise InputError(f"trigger {trigger.name}: the payload is refused: {error}; mend it") from error
        except AppCodeFailed as error:
            raise AppCodeFailed(f"app {spec.name}: {trigger.transform!r} failed: {error}; mend the app") from error
    try:
        return TriggerRequest.model_validate(payload)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'payload'}: {one['msg']}" for one in error.errors())
        if trigger.transform is not None:
            what = f"{trigger.transform!r} returned no request: {told}"
            raise AppCodeFailed(f"app {spec.name}: {what}; it returns text, state, priority, skill") from error
        raise InputError(f"trigger {trigger.name}: {told}; send text, state, priority, skill") from error


def _load_code(spec: AppSpec) -> None:
    for trigger in spec.triggers:
        if isinstance(trigger, WebhookTrigger):
            if trigger.transform is not None:
                load_function(spec, trigger.transform)
            if trigger.payload_schema is not None:
                load_object(spec, trigger.payload_schema)


def _read_payload(bound: Bound, body: bytes) -> object:
    name = bound.trigger.name
    try:
        payload: JsonValue = load_json(body)
    except ValueError as error:
        raise InputError(f"trigger {name}: the body is no JSON ({error}); send an object") from error
    if bound.trigger.payload_schema is None:
        return payload
    reference = bound.trigger.payload_schema
    schema = cast("type[BaseModel]", load_object(bound.spec, reference))
    is_kept = bound.trigger.transform is not None

    def read() -> object:
        built = schema.model_validate(payload)
        return built if is_kept else built.model_dump(mode="json")

    try:
        return call_function(read, own=(ValidationError,))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'payload'}: {one['msg']}" for one in error.errors())
        raise InputError(f"trigger {name}: {told}; mend the payload") from error
    except AppCodeFailed as error:
        raise AppCodeFailed(f"app {bound.spec.name}: {reference!r} failed: {error}; mend the app") from error


def read_secrets(spec: AppSpec, trigger: WebhookTrigger, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets that a webhook's variables hold; raise ConfigError for one that is not set, too short, or none."""
    found = []
    for variable in trigger.secret_env:
        secret = env.get(variable, "")
        if len(secret) < 16:
            raise ConfigError(
                f"app {spec.name}: trigger {trigger.name}: {variable} is not set to a secret of at least 16 characters; set it"
            )
        try:
            read_secret(secret)
        except ValueError as error:
            raise ConfigError(f"app {spec.name}: trigger {trigger.name}: {variable}: {error}") from error
        hide(secret)
        found.append(secret)
    return tuple(found)


def _variables(bound: Bound) -> str:
    return " or ".join(bound.trigger.secret_env)
