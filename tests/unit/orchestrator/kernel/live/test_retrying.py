"""Trying again in one process: how often, after which waits, and that a cancelled session does not wait."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.contracts.provider_errors import AbortError, AuthenticationError, LLMError, RateLimitError
from orchestrator.kernel.backoff import RetryConfig
from orchestrator.kernel.live.cancellation import CancellationToken
from orchestrator.kernel.live.retrying import retry_with_backoff

STEADY = RetryConfig(jitter=False)


class Service:
    """A call that fails with each of its errors in turn, then works."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


class Clock:
    """Sleeps that take no time and are remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_what_may_pass_is_tried_again_after_growing_waits() -> None:
    """The error's own word on delays counts."""
    clock, told = Clock(), []

    async def on_retry(attempt: int, delay: float, error: LLMError) -> None:
        told.append((attempt, delay, str(error), len(clock.slept)))

    service = Service(
        RateLimitError("a"), RateLimitError("b", retry_after=9.0), RateLimitError("c", delay_multiplier=2.0)
    )
    result = asyncio.run(retry_with_backoff(service, STEADY, on_retry=on_retry, sleep=clock.sleep))

    assert (result, service.calls) == ("done", 4)
    assert clock.slept == [1.0, 9.0, 8.0]
    assert told == [(1, 1.0, "a", 0), (2, 9.0, "b", 1), (3, 8.0, "c", 2)]


@pytest.mark.parametrize("error", [AuthenticationError("no"), RateLimitError("no", retryable=False), ValueError("no")])
def test_what_will_not_pass_comes_through_at_once(error: Exception) -> None:
    """As it was raised; errors that are no LLMError say nothing about retries."""
    clock, service = Clock(), Service(error)

    with pytest.raises(type(error)) as caught:
        asyncio.run(retry_with_backoff(service, STEADY, sleep=clock.sleep))

    assert caught.value is error
    assert (service.calls, clock.slept) == (1, [])


@pytest.mark.parametrize("retries", [0, 2])
def test_the_last_error_is_raised_when_the_tries_are_spent(retries: int) -> None:
    """One call and so many retries."""
    errors = [RateLimitError(str(n)) for n in range(5)]
    clock, service = Clock(), Service(*errors)

    with pytest.raises(RateLimitError) as caught:
        asyncio.run(retry_with_backoff(service, RetryConfig(retries, jitter=False), sleep=clock.sleep))

    assert caught.value is errors[retries]
    assert (service.calls, len(clock.slept)) == (retries + 1, retries)


def test_the_defaults_spread_their_waits() -> None:
    """The random number is the caller's where it matters, as here."""
    clock = Clock()

    asyncio.run(retry_with_backoff(Service(RateLimitError("a")), sleep=clock.sleep, draw=lambda: 0.0))

    assert clock.slept == [0.5]


def test_an_error_of_the_listener_ends_it() -> None:
    """A hook that refuses a retry must be able to."""

    async def refuse(attempt: int, delay: float, error: LLMError) -> None:
        raise PermissionError(f"no retry {attempt}")

    service = Service(RateLimitError("a"))

    with pytest.raises(PermissionError):
        asyncio.run(retry_with_backoff(service, STEADY, on_retry=refuse, sleep=Clock().sleep))
    assert service.calls == 1


def test_a_cancelled_session_is_not_waited_for() -> None:
    """The wait ends when the cancel comes, and no further call is made."""
    token, service = CancellationToken(), Service(RateLimitError("busy", provider="p", model="m"))
    state = {}

    async def work() -> None:
        asleep = asyncio.Event()

        async def sleep(seconds: float) -> None:
            asleep.set()
            try:
                await asyncio.Event().wait()
            finally:
                state["woken"] = True

        call = asyncio.ensure_future(retry_with_backoff(service, STEADY, token=token, sleep=sleep))
        await asleep.wait()
        token.request_graceful()
        await call

    with pytest.raises(AbortError, match=r"cancelled \(graceful\) before retry 1") as caught:
        asyncio.run(work())

    assert (service.calls, state) == (1, {"woken": True})
    assert isinstance(caught.value.__cause__, RateLimitError)
    assert (caught.value.provider, caught.value.model, caught.value.retryable) == ("p", "m", False)


def cancelling(token: CancellationToken) -> Callable[[], Awaitable[str]]:
    """Return a call during which the session is cancelled, and which then fails."""

    async def call() -> str:
        token.request_immediate()
        raise RateLimitError("busy")

    return call


def test_a_cancel_during_the_call_stops_the_retries_before_the_listener_hears_of_one() -> None:
    """No provider:retry is told of a retry that will not be."""
    token, heard, clock = CancellationToken(), [], Clock()

    async def on_retry(attempt: int, delay: float, error: LLMError) -> None:
        heard.append(attempt)

    with pytest.raises(AbortError, match="immediate"):
        asyncio.run(retry_with_backoff(cancelling(token), STEADY, token=token, on_retry=on_retry, sleep=clock.sleep))

    assert (heard, clock.slept) == ([], [])


def test_the_first_call_is_made_whatever_the_token_says() -> None:
    """Whether a cancelled session still calls its model is its orchestrator's to decide."""
    token = CancellationToken()
    token.request_graceful()

    assert asyncio.run(retry_with_backoff(Service(), STEADY, token=token)) == "done"


def test_a_token_that_is_not_cancelled_changes_nothing() -> None:
    """The wait is the same."""
    clock = Clock()

    done = asyncio.run(
        retry_with_backoff(Service(RateLimitError("a")), STEADY, token=CancellationToken(), sleep=clock.sleep)
    )

    assert (done, clock.slept) == ("done", [1.0])


def test_cancelling_the_task_leaves_nothing_behind() -> None:
    """Its wait and its watch of the token end with it."""

    async def work() -> int:
        asleep = asyncio.Event()

        async def sleep(seconds: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        call = asyncio.ensure_future(
            retry_with_backoff(Service(RateLimitError("a")), STEADY, token=CancellationToken(), sleep=sleep)
        )
        await asleep.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return len(asyncio.all_tasks())

    assert asyncio.run(work()) == 1
