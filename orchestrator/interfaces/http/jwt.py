"""JWTs of a login service: verified by its published keys, for our audience, in their time.

Only signatures by a key pair are believed; a key is fetched again when a token names one that we do not know, at most once in a
while. Whatever cannot be verified is no caller.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Final, cast, get_args

from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, KeySetSerialization
from pydantic import JsonValue

from orchestrator.contracts.access import Caller, Role, expand_roles
from orchestrator.contracts.base import load_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.settings_api import ApiSettings

log = logging.getLogger(__name__)

ALGORITHMS: Final = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]
#: The clocks of two services may differ by this.
LEEWAY_SECONDS: Final = 30
#: Keys are fetched again after this, for an unknown one not more often than the second, after a failure than the third.
KEYS_SECONDS: Final = 3_600.0
REFETCH_SECONDS: Final = 30.0
FAILED_SECONDS: Final = 5.0
#: What heads and claims of other types than anybody expects come to.
_ODD: Final = (TypeError, RecursionError)


class JwtVerifier:
    """Believes one issuer."""

    def __init__(self, settings: ApiSettings) -> None:
        if not settings.oidc_audience or not settings.oidc_keys:
            raise ConfigError("api.oidc_issuer: it needs api.oidc_audience and api.oidc_keys beside it; set both")
        if "://" in settings.oidc_keys and not settings.oidc_keys.startswith("https://"):
            raise ConfigError(f"api.oidc_keys: {settings.oidc_keys[:200]}: keys come by https or from a file; mend it")
        self._settings = settings
        self._keys: KeySet | None = None
        self._fetched = self._failed = -inf
        self._lock = asyncio.Lock()

    async def verify(self, token: str) -> Caller | None:
        """Return the caller that a token speaks for, None for one that cannot be believed."""
        for is_last in (False, True):
            try:
                keys = await self._load(REFETCH_SECONDS if is_last else KEYS_SECONDS)
                decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
                registry = jwt.JWTClaimsRegistry(
                    leeway=LEEWAY_SECONDS,
                    iss={"essential": True, "value": self._settings.oidc_issuer},
                    aud={"essential": True, "value": self._settings.oidc_audience},
                    exp={"essential": True},
                )
                registry.validate(decoded.claims)
            except (ValueError, InvalidKeyIdError, BadSignatureError) as error:  # of keys that have changed, it may be
                if is_last:
                    log.info("a JWT was refused: %s", error)
                    return None
            except (JoseError, OSError, *_ODD) as error:
                log.info("a JWT was refused: %s: %s", type(error).__name__, error)
                return None
            else:
                return self._caller(cast("Mapping[str, JsonValue]", decoded.claims))
        return None

    def _caller(self, claims: Mapping[str, JsonValue]) -> Caller | None:
        name, roles = _lookup(claims, self._settings.oidc_name_claim), _lookup(claims, self._settings.oidc_roles_claim)
        if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
            return None
        words = roles.split() if isinstance(roles, str) else roles if isinstance(roles, list) else []
        plain = {str(word).removeprefix("baton:") for word in words}
        known = tuple(role for role in get_args(Role) if role in plain)
        return Caller(name=name, roles=expand_roles(known), way="jwt")

    async def _load(self, oldest_seconds: float) -> KeySet:
        """Return the issuer's keys, no older than this; raise OSError or ValueError where there are none.

        Who finds young ones waits for nobody: a stranger's tokens may make us ask for others, again and again.
        """
        if (young := self._younger_than(oldest_seconds)) is not None:
            return young
        async with self._lock:
            if (young := self._younger_than(oldest_seconds)) is not None:
                return young
            if time.monotonic() - self._failed < FAILED_SECONDS:
                raise OSError("the issuer's keys could not be had a moment ago")
            try:
                self._keys = _read_keys(await self._read())
            except (OSError, ValueError):
                self._failed = time.monotonic()
                raise
            self._fetched = time.monotonic()
            return self._keys

    def _younger_than(self, seconds: float) -> KeySet | None:
        return self._keys if time.monotonic() - self._fetched < seconds else None

    async def _read(self) -> dict[str, JsonValue]:
        where = self._settings.oidc_keys
        if where.startswith("https://"):
            import httpx2

            try:
                async with httpx2.AsyncClient(timeout=5, follow_redirects=False) as http:
                    answer = await http.get(where)
                    answer.raise_for_status()
                    text = answer.content
            except httpx2.HTTPError as error:
                raise OSError(f"{where}: {error}") from error
        else:
            text = await asyncio.to_thread(Path(where).read_bytes)
        found = load_json(text)
        if not isinstance(found, dict):
            raise ValueError(f"{where}: no set of keys")
        return found


def _read_keys(found: dict[str, JsonValue]) -> KeySet:
    """Return the keys; raise ValueError for what is no set of keys."""
    listed = found.get("keys")
    if not isinstance(listed, list) or not all(isinstance(key, dict) for key in listed):
        raise ValueError("the issuer's keys are no JWKS; see api.oidc_keys")
    try:
        return KeySet.import_key_set(cast("KeySetSerialization", {"keys": listed}))
    except (TypeError, KeyError) as error:
        raise ValueError(f"the issuer's keys cannot be read: {error}") from error


def _lookup(claims: Mapping[str, JsonValue], path: str) -> JsonValue:
    """Return a claim, nested by dots; a claim whose own name has dots goes first."""
    if path in claims:
        return claims[path]
    value: JsonValue = dict(claims)
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
