"""Who asks, and may they: bearer tokens, JWTs of a login service, the open door of a loopback address; rates.

    token    `baton_…`: its SHA-256 is looked up in the store or in the file of the settings
    jwt      anything with two dots, where an issuer is configured
    open     without tokens and issuer: only on loopback, only for requests that no other web page can have made

A credential that cannot be checked opens nothing.
"""

import time
from collections.abc import Mapping
from typing import Final

from fastapi import Request

from orchestrator.contracts.access import TOKEN_MARK, Caller, Role, Token, digest_token, expand_roles
from orchestrator.interfaces.http.jwt import JwtVerifier
from orchestrator.interfaces.http.problems import Refused
from orchestrator.operations import Operations
from orchestrator.settings_api import ApiSettings

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1", ""})

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


class Doorkeeper:
    """Admits callers. `open_actor` is the one caller of an open door; None where credentials are asked for."""

    def __init__(
        self,
        operations: Operations,
        settings: ApiSettings,
        *,
        file_tokens: Mapping[str, Token],
        jwt: JwtVerifier | None,
        open_actor: str | None,
    ) -> None:
        self._operations = operations
        self._settings = settings
        self._file_tokens = dict(file_tokens)
        self._jwt = jwt
        self._open_actor = open_actor

    async def admit(self, request: Request, role: Role) -> Caller:
        """Return the caller; raise Refused: 401 unknown, 403 without the role, 429 too often."""
        caller = await self.identify(request)
        await self._count(f"caller:{caller.way}:{caller.name}")
        if role not in caller.roles:
            raise Refused("forbidden", 403, f"{caller.name}: this needs the role {role}; ask an operator for it")
        return caller

    async def identify(self, request: Request) -> Caller:
        """Return who asks, with whatever roles; raise Refused."""
        header = request.headers.get("authorization")
        if header is None:
            if self._open_actor is None:
                raise Refused("unauthorized", 401, "no credentials; send `Authorization: Bearer TOKEN`", _CHALLENGE)
            return self._open(request, self._open_actor)
        scheme, _, credential = header.partition(" ")
        credential = credential.strip()
        caller = None
        if scheme.lower() == "bearer" and 0 < len(credential) <= 16_384:
            caller = await self._by_credential(credential)
        if caller is None:
            await self._note_refusal(request)
            raise Refused(
                "unauthorized", 401, "these credentials open nothing; check them, or ask for new ones", _CHALLENGE
            )
        return caller

    async def _by_credential(self, credential: str) -> Caller | None:
        if credential.startswith(TOKEN_MARK):
            digest = digest_token(credential)
            token = self._file_tokens.get(digest) or await self._operations.tokens.find(digest)
            now = time.time() * 1000
            if token is None or (token.expires_at is not None and token.expires_at <= now):
                return None
            return Caller(name=token.name, roles=expand_roles(token.roles), way="token")
        if self._jwt is not None and credential.count(".") == 2:
            return await self._jwt.verify(credential)
        return None

    def _open(self, request: Request, actor: str) -> Caller:
        """Admit who is on this machine, but no page of another site that runs in its browser."""
        host = request.headers.get("host", "").rpartition(":")
        name = host[0] if host[0] and host[2].isdigit() else request.headers.get("host", "")
        if name.lower() not in LOOPBACK_NAMES:
            raise Refused("forbidden", 403, "without tokens only localhost is served; make one with `baton tokens new`")
        site, origin = request.headers.get("sec-fetch-site", "none"), request.headers.get("origin")
        same = origin is None or origin.partition("://")[2] == request.headers.get("host", "")
        if site not in {"none", "same-origin"} or not same:
            raise Refused("forbidden", 403, "a page of another site asks; without tokens that is refused")
        return Caller(name=actor, roles=expand_roles(("operator",)), way="open")

    async def _count(self, name: str) -> None:
        settings = self._settings
        allowed, seconds = await self._operations.rates.take(
            name, per_second=settings.requests_per_second, burst=settings.requests_burst
        )
        if not allowed:
            raise _too_many(seconds)

    async def count_sender(self, request: Request, trigger: str) -> None:
        """Count a request that a trigger itself admits, by the address that it comes from; raise Refused."""
        peer = request.client.host if request.client is not None else "local"
        await self._count(f"trigger:{trigger}:{peer}")

    async def _note_refusal(self, request: Request) -> None:
        """Count a wrong credential of an address; raise Refused where it has tried too many."""
        peer = request.client.host if request.client is not None else "local"
        per_minute = self._settings.refusals_per_minute
        allowed, seconds = await self._operations.rates.take(
            f"refused:{peer}", per_second=per_minute / 60, burst=max(int(per_minute), 1)
        )
        if not allowed:
            raise _too_many(seconds)


def _too_many(seconds: float) -> Refused:
    wait = str(max(int(seconds + 0.999), 1))
    return Refused("too-many-requests", 429, f"too many requests; try again in {wait} s", {"Retry-After": wait})
