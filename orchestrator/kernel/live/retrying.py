"""Try a call again in this process, while its error says that it may pass.

The decisions are kernel/backoff.py's; here is the waiting. It ends early when the session is
cancelled. A durable session does not wait like this: its retry is a due entry of the store, and its
worker is free meanwhile (workers/failures.py).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.contracts.provider_errors import AbortError, LLMError
from orchestrator.kernel.backoff import RetryConfig, compute_delay
from orchestrator.kernel.live.cancellation import CancellationToken

T = TypeVar("T")


async def retry_with_backoff(
    operation: Callable[[], Awaitable[T]],
    config: RetryConfig | None = None,
    *,
    on_retry: Callable[[int, float, LLMError], Awaitable[None]] | None = None,
    token: CancellationToken | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    draw: Callable[[], float] = random.random,
) -> T:
    """Return what `operation` gives, after at most `max_retries` further tries.

    Only an LLMError that is `retryable` is tried again; anything else, and the last error, comes
    through as it was raised. Before each wait `on_retry(attempt from 1, delay in seconds, error)` is
    awaited: the place to emit provider:retry. Once `token` is cancelled no further try is begun:
    AbortError is raised from the last error, out of the wait too. The first try is the caller's to
    decide, and a try that runs is not interrupted. `sleep` and `draw` (0 up to 1) are the world.
    """
    config = config or RetryConfig()
    attempt = 0
    while True:
        try:
            return await operation()
        except LLMError as error:
            if not error.retryable or attempt >= config.max_retries:
                raise
            delay = compute_delay(
                config,
                attempt,
                error.retry_after,
                error.delay_multiplier,
                unit_random=draw() if config.is_spread else 0.5,
            )
            attempt += 1
            _check(token, attempt, error)
            if on_retry is not None:
                await on_retry(attempt, delay, error)
            await _pause(delay, token, sleep)
            _check(token, attempt, error)


def _check(token: CancellationToken | None, attempt: int, error: LLMError) -> None:
    if token is None or not token.is_cancelled:
        return
    message = f"retry: cancelled ({token.state}) before retry {attempt}; the last error was {error!r}"
    raise AbortError(message, provider=error.provider, model=error.model) from error


async def _pause(delay: float, token: CancellationToken | None, sleep: Callable[[float], Awaitable[object]]) -> None:
    """Sleep, and no longer than until the token is cancelled."""
    if token is None:
        await sleep(delay)
        return
    asleep = asyncio.ensure_future(sleep(delay))
    called = asyncio.ensure_future(token.wait_cancelled())
    try:
        await asyncio.wait({asleep, called}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = asleep.done()
        asleep.cancel()
        called.cancel()
        await asyncio.wait({asleep, called})
    if ended:
        asleep.result()
