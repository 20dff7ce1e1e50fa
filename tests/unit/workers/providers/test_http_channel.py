"""The HTTP channel: Retry-After in all its forms, statuses by class, and what its errors say to a person."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
import pytest
from pydantic import SecretStr

from orchestrator.contracts.provider_errors import LLMError
from workers.providers.http import (
    MAX_DETAIL,
    MAX_RETRY_AFTER_SECONDS,
    HttpChannel,
    is_transient_status,
    read_retry_after,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Fri, 20 Nov 2026 13:01:30 +0100"}, 90.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 GMT", "date": "Fri, 20 Nov 2026 12:01:00 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 GMT", "date": "yesterday"}, 90.0),
        ({"retry-after": "Friday, 20-Nov-26 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Fri Nov 20 12:01:30 2026"}, 90.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, MAX_RETRY_AFTER_SECONDS),
        ({"retry-after": "Fri, 99 Nov 2026 12:01:30 GMT"}, None),
    ],
)
def test_retry_after_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """A service that says when to come back is obeyed; what it mumbles is ignored."""
    assert read_retry_after(headers, now=NOW) == seconds


def test_a_key_where_a_malformed_answer_is_cut_is_hidden_whole() -> None:
    """A service may answer with what it was given; half a key is too much."""
    channel = HttpChannel("p", "http://h", headers={}, key=SecretStr("swordfish"))

    said = str(channel.malformed("x" * (MAX_DETAIL - 5) + "swordfish"))

    assert "x[reda;" in said
    assert "xsword" not in said


def test_statuses_are_told_apart_by_number_alone() -> None:
    """The texts of errors change; the numbers mean something."""
    passing = {status for status in range(100, 1000) if is_transient_status(status)}

    assert passing == {408, 409, 425, 429, *range(500, 600)}


def _refuse(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused", request=request)


def _time_out(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ReadTimeout("late", request=request)


@pytest.mark.parametrize(
    "answer",
    [
        _refuse,
        _time_out,
        lambda _: httpx2.Response(503, text="busy"),
        lambda _: httpx2.Response(200, text="{"),
        lambda _: httpx2.Response(200, json=[]),
    ],
)
def test_an_error_that_may_pass_does_not_promise_another_try(
    answer: Callable[[httpx2.Request], httpx2.Response],
) -> None:
    """Its text is a dead letter's last word as well: by then nobody tries again, and a person wants to know what to do."""

    async def call() -> LLMError:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            channel = HttpChannel("p", "http://service", headers={}, client=client)
            with pytest.raises(LLMError) as caught:
                await channel.post("/v1", {}, timeout_seconds=60)
            return caught.value

    error = asyncio.run(call())

    assert error.retryable
    assert str(error).endswith("; it may pass; if it stays, look at the service")
