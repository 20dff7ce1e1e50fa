"""Calling what modules brought: sync, async, and whatever it raises."""

import asyncio
from typing import Any

import pytest

from orchestrator.kernel.live.foreign import attempt


async def double(number: int, *, times: int = 1) -> int:
    """Be async."""
    return number * 2 * times


@pytest.mark.parametrize(
    "function", [double, lambda number, times: double(number, times=times), lambda n, times: n * 2 * times]
)
def test_a_call_gives_its_value_whether_it_is_async_or_not(function: Any) -> None:
    """Modules are written both ways, and some return a coroutine from a plain function."""
    recorded: list[BaseException] = []

    outcome = asyncio.run(attempt(function, 2, times=3, record=recorded.append))

    assert (outcome.value, outcome.error, recorded) == (12, None, [])


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()], ids=repr)
def test_an_error_is_recorded_and_comes_back(error: BaseException) -> None:
    """It is the caller who knows what has to be finished first."""
    recorded: list[BaseException] = []

    async def fail() -> None:
        raise error

    outcome = asyncio.run(attempt(fail, record=recorded.append))

    assert (outcome.value, outcome.error, recorded) == (None, error, [error])


def test_a_caller_that_is_closed_is_closed() -> None:
    """Awaiting on while the event loop throws a coroutine away is an error of its own."""
    recorded: list[BaseException] = []
    running = attempt(asyncio.sleep, 0, record=recorded.append)
    running.send(None)

    running.close()

    assert recorded == []
