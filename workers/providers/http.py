"""Post JSON to a model service and read JSON back, within a time and a size.

What a failure means is told by the status code and by the exception's type alone:

    408 409 425 429 5xx (529 too), time-outs, connections, a cut or malformed body -> ProviderTransient
    any other status that is not 2xx, and a request that cannot be sent at all     -> ProviderRefused

Nothing is retried and no redirect is followed. A cancelled call closes its connection. The key is
in the headers of a request and nowhere else; it is cut out of what a service's error says.
"""

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2
from pydantic import JsonValue, SecretStr

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import ProviderError, ProviderRefused, ProviderTransient

MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_DETAIL: Final = 300
#: The longest a service is obeyed: past it a person should look.
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0
CONNECT_SECONDS: Final = 10.0
#: More than a worker has lanes, so that the pool is never what a session waits for.
MAX_CONNECTIONS: Final = 2_000

_PASSING: Final = frozenset({408, 409, 425, 429})


def make_client() -> httpx2.AsyncClient:
    """Return a client for all providers of one event loop; it keeps connections open."""
    limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100, keepalive_expiry=30.0)
    return httpx2.AsyncClient(limits=limits, follow_redirects=False)


def is_transient_status(status: int) -> bool:
    """Say whether the same request may succeed later.

    >>> [s for s in (400, 401, 404, 408, 409, 413, 422, 425, 429, 500, 503, 529) if is_transient_status(s)]
    [408, 409, 425, 429, 500, 503, 529]
    """
    return status in _PASSING or 500 <= status < 600


def read_retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds to wait that a response asks for, or None.

    `retry-after-ms` goes first, it is the finer one; `Retry-After` is seconds or an HTTP date,
    which is counted from the response's own `Date` where it has one, so that no clock is compared
    with another. What is not understood is ignored.

    >>> from datetime import datetime, UTC
    >>> now = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
    >>> read_retry_after({"retry-after-ms": "250", "retry-after": "1"}, now=now)
    0.25
    >>> read_retry_after({"retry-after": "Fri, 20 Nov 2026 12:00:07 GMT"}, now=now)
    7.0
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _clamp(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return _clamp(seconds)
    until = _date(text)
    return None if until is None else _clamp((until - (_date(headers.get("date")) or now)).total_seconds())


class HttpChannel:
    """The way to one service: its URL, its headers, its key.

    A client that is given belongs to its giver; otherwise the channel opens one on its first call,
    in the event loop of that call, and closes it in `aclose`.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        key: SecretStr | None = None,
        key_header: str = "authorization",
        key_prefix: str = "Bearer ",
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        self.provider, self.base_url = provider, base_url
        self._headers = {"content-type": "application/json", "accept-encoding": "identity", **headers}
        self._key, self._key_header, self._key_prefix = key, key_header, key_prefix
        self._client, self._is_owner = client, client is None

    async def post(self, path: str, body: JsonObject, *, timeout_seconds: float) -> JsonObject:
        """Post `body`, and return the JSON object of a 2xx response; raise a ProviderError."""
        where = f"{self.provider} {self.base_url}{path}"
        limit = httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds))
        request = self._open_client().build_request(
            "POST", f"{self.base_url}{path}", content=dump_json(body), headers=self._all_headers(), timeout=limit
        )
        try:
            # The client's own limits are per read; a service that trickles is stopped by this one.
            async with asyncio.timeout(timeout_seconds):
                response = await self._open_client().send(request, stream=True)
                try:
                    content = await self._read(response, where)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx2.TimeoutException) as error:
            message = f"{where}: no answer within {timeout_seconds:g} s; it is tried again"
            raise ProviderTransient(message, provider=self.provider) from error
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise self._refused(f"{where}: the request cannot be sent: {error}; check base_url and headers") from error
        except (httpx2.RequestError, httpx2.StreamError) as error:
            message = f"{where}: {type(error).__name__}: {error or 'the connection failed'}; it is tried again"
            raise ProviderTransient(self._redact(message), provider=self.provider) from error
        if not response.is_success:
            raise self._error_of(response, content, where)
        try:
            found = load_json(content)
        except ValueError as error:
            raise self.malformed(f"the body is not JSON: {error}", path=path) from error
        if not isinstance(found, dict):
            raise self.malformed("the body is not a JSON object", path=path)
        return found

    async def aclose(self) -> None:
        """Close the client, if it is this channel's own."""
        client, self._client = self._client, None if self._is_owner else self._client
        if client is not None and self._is_owner:
            await client.aclose()

    def malformed(self, what: str, *, path: str = "") -> ProviderTransient:
        """Return the error for an answer that cannot be read: the next one may be whole."""
        message = f"{self.provider} {self.base_url}{path}: malformed answer: {what[:MAX_DETAIL]}; it is tried again"
        return ProviderTransient(self._redact(message), provider=self.provider)

    def _open_client(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = make_client()
        return self._client

    def _all_headers(self) -> dict[str, str]:
        if self._key is None:
            return self._headers
        return {**self._headers, self._key_header: f"{self._key_prefix}{self._key.get_secret_value()}"}

    async def _read(self, response: httpx2.Response, where: str) -> bytes:
        """Read the body up to its limit; of an error's body the beginning is enough."""
        limit = MAX_RESPONSE_BYTES if response.is_success else MAX_ERROR_BYTES
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > limit and response.is_success:
                raise self._refused(f"{where}: the answer is over {limit} bytes; lower max_tokens or check base_url")
            if len(content) > limit:
                break
        return bytes(content[:limit])

    def _error_of(self, response: httpx2.Response, content: bytes, where: str) -> ProviderError:
        """Return the error of a response that is not 2xx, by its status alone."""
        status = response.status_code
        said = self._redact(_detail(content))
        detail = f": {said}" if said else ""
        if is_transient_status(status):
            return ProviderTransient(
                f"{where}: status {status}{detail}; it is tried again",
                provider=self.provider,
                status_code=status,
                retry_after_seconds=read_retry_after(response.headers, now=datetime.now(UTC)),
            )
        return self._refused(f"{where}: status {status}{detail}; mend the request or the app's model options", status)

    def _refused(self, message: str, status: int | None = None) -> ProviderRefused:
        return ProviderRefused(self._redact(message), provider=self.provider, status_code=status)

    def _redact(self, text: str) -> str:
        secret = self._key.get_secret_value() if self._key is not None else ""
        return text.replace(secret, "[redacted]") if secret else text


def _detail(content: bytes) -> str:
    """Return what a service's error says, for people; nothing is decided by it."""
    try:
        found = load_json(content)
    except ValueError:
        return " ".join(content.decode(errors="replace").split())[:MAX_DETAIL]
    said: JsonValue = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(said, dict):
        said = said.get("message", said)
    return " ".join((said if isinstance(said, str) else dump_json(said)).split())[:MAX_DETAIL]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
