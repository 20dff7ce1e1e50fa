"""Post JSON to a model service and read JSON back, within a time and a size.

Whether a failure may pass is told by the status code and by the exception's type alone:

    408, a time-out                      LLMTimeoutError             tried again
    429                                  RateLimitError              tried again
    5xx (529 too)                        ProviderUnavailableError    tried again
    no connection                        NetworkError                tried again
    a cut or malformed body              StreamError                 tried again
    409 425                              by what it says             tried again
    402, 429 by its code                 QuotaExceededError          not
    401 · 403 · 404 · 413                Authentication- · AccessDenied- · NotFound- · ContextLengthError
    any other status that is not 2xx     by its code, or what it says (kernel/classification.py)
    a request that cannot be sent        ConfigurationError

Nothing is retried and no redirect is followed. A cancelled call closes its connection. The key is
in the headers of a request and nowhere else; it is cut out of what a service's error says.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2
from pydantic import JsonValue, SecretStr

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.provider_errors import (
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    LLMTimeoutError,
    NetworkError,
    NotFoundError,
    QuotaExceededError,
    StreamError,
)
from orchestrator.kernel.classification import classify_error_category, classify_error_message
from workers.providers.sse import iter_data

MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024
#: Events are many times what they carry.
MAX_STREAM_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_DETAIL: Final = 300
#: The longest a service is obeyed: past it a person should look.
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0
CONNECT_SECONDS: Final = 10.0
#: What to do about a failure that may pass. Whether it is tried again is not the call's to say: a dead letter ends with it.
IF_IT_STAYS: Final = "it may pass; if it stays, look at the service"
#: More than a worker has lanes, so that the pool is never what a session waits for.
MAX_CONNECTIONS: Final = 2_000

#: What ends a stream of one dialect; the other says it with an event.
DONE: Final = "[DONE]"

_PASSING: Final = frozenset({408, 409, 425, 429})
#: What services write as `code` or `type` of an error: words of their APIs, compared whole.
_BY_CODE: Final[dict[str, type[LLMError]]] = {
    "insufficient_quota": QuotaExceededError,
    "billing_hard_limit_reached": QuotaExceededError,
    "context_length_exceeded": ContextLengthError,
    "content_filter": ContentFilterError,
    "content_policy_violation": ContentFilterError,
    "model_not_found": NotFoundError,
}

#: The service was reached, and its answer broke off or could not be decoded.
_BROKEN_OFF: Final = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.DecodingError, httpx2.StreamError)


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
        """Post `body`, and return the JSON object of a 2xx response; raise an LLMError."""
        content = await self._exchange(path, body, timeout_seconds, self._read)
        try:
            found = load_json(content)
        except ValueError as error:
            raise self.malformed(f"the body is not JSON: {error}", path=path) from error
        if not isinstance(found, dict):
            raise self.malformed("the body is not a JSON object", path=path)
        return found

    async def post_streamed(
        self, path: str, body: JsonObject, on_event: Callable[[JsonObject], None], *, timeout_seconds: float
    ) -> JsonObject | None:
        """Post `body`, and tell `on_event` each event of a 2xx response; raise an LLMError.

        A service that does not stream answers as it would to `post`: that answer is returned. What `on_event` raises
        as ValueError makes the answer malformed.
        """

        async def read(response: httpx2.Response, where: str) -> bytes:
            if not response.is_success or "event-stream" not in response.headers.get("content-type", ""):
                return await self._read(response, where)
            events = iter_data(response.aiter_bytes(), most_bytes=MAX_STREAM_BYTES, most_event_bytes=MAX_RESPONSE_BYTES)
            async for data in events:
                if data.strip() == DONE:
                    break
                event = load_json(data)
                if not isinstance(event, dict):
                    raise ValueError("an event is not a JSON object")
                on_event(event)
            return b""

        try:
            content = await self._exchange(path, body, timeout_seconds, read)
            found = load_json(content) if content else None
        except ValueError as error:
            raise self.malformed(str(error), path=path) from error
        if found is not None and not isinstance(found, dict):
            raise self.malformed("the body is not a JSON object", path=path)
        return found

    async def _exchange(
        self,
        path: str,
        body: JsonObject,
        timeout_seconds: float,
        read: Callable[[httpx2.Response, str], Awaitable[bytes]],
    ) -> bytes:
        """Post `body`, and return what `read` makes of a 2xx response; raise an LLMError."""
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
                    content = await read(response, where)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx2.TimeoutException) as error:
            message = f"{where}: no answer within {timeout_seconds:g} s; {IF_IT_STAYS}"
            raise LLMTimeoutError(message, provider=self.provider) from error
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            message = f"{where}: the request cannot be sent: {error}; check base_url and headers"
            raise ConfigurationError(self._redact(message), provider=self.provider) from error
        except (httpx2.RequestError, httpx2.StreamError) as error:
            message = f"{where}: {type(error).__name__}: {error or 'the connection failed'}; {IF_IT_STAYS}"
            failure = StreamError if isinstance(error, _BROKEN_OFF) else NetworkError
            raise failure(self._redact(message), provider=self.provider) from error
        if not response.is_success:
            raise self._error_of(response, content, where)
        return content

    async def aclose(self) -> None:
        """Close the client, if it is this channel's own."""
        client, self._client = self._client, None if self._is_owner else self._client
        if client is not None and self._is_owner:
            await client.aclose()

    def malformed(self, what: str, *, path: str = "") -> StreamError:
        """Return the error for an answer that cannot be read: the next one may be whole."""
        message = (
            f"{self.provider} {self.base_url}{path}: malformed answer: {self._redact(what)[:MAX_DETAIL]}; {IF_IT_STAYS}"
        )
        return StreamError(message, provider=self.provider)

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
                message = f"{where}: the answer is over {limit} bytes; lower max_tokens or check base_url"
                raise InvalidRequestError(message, provider=self.provider)
            if len(content) > limit:
                break
        return bytes(content[:limit])

    def _error_of(self, response: httpx2.Response, content: bytes, where: str) -> LLMError:
        """Return the error of a response that is not 2xx. What it says may name the class, never whether it may pass."""
        status = response.status_code
        detail, words = _detail(content)
        said = self._redact(detail)[:MAX_DETAIL]  # in this order: half a key is a secret, too
        failure = _class_of(status, said, words)
        is_transient = is_transient_status(status) and failure is not QuotaExceededError
        advice = IF_IT_STAYS if is_transient else "mend the request or the app's model options"
        return failure(
            f"{where}: status {status}{f': {said}' if said else ''}; {advice}",
            provider=self.provider,
            status_code=status,
            retryable=is_transient,
            retry_after=read_retry_after(response.headers, now=datetime.now(UTC)) if is_transient else None,
        )

    def _redact(self, text: str) -> str:
        secret = self._key.get_secret_value() if self._key is not None else ""
        return text.replace(secret, "[redacted]") if secret else text


def _class_of(status: int, said: str, words: Sequence[str]) -> type[LLMError]:
    match status:
        case 402:
            return QuotaExceededError
        case 408:
            return LLMTimeoutError
    named = next((_BY_CODE[word] for word in words if word in _BY_CODE), None)
    if named is not None and status < 500:
        return named
    found = classify_error_message(said, status_code=status)
    is_long = found is InvalidRequestError and classify_error_category(said) == "context_length"
    return ContextLengthError if is_long else found


def _detail(content: bytes) -> tuple[str, tuple[str, ...]]:
    """Return what a service's error says, for people, and the code and type that it gives, for programs."""
    try:
        found = load_json(content)
    except ValueError:
        return " ".join(content.decode(errors="replace").split()), ()
    said: JsonValue = found.get("error", found) if isinstance(found, dict) else found
    words: list[JsonValue] = []
    if isinstance(said, dict):
        words = [said.get("code"), said.get("type")]
        said = said.get("message", said)
    text = said if isinstance(said, str) else dump_json(said)
    return " ".join(text.split()), tuple(word for word in words if isinstance(word, str))


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
