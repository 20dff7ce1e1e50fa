"""The edge of registered code."""

import asyncio

import pytest

from orchestrator.kernel.live.guard import guarded


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), StopAsyncIteration(), asyncio.CancelledError()])
def test_what_registered_code_raises_is_recorded_and_it_goes_on(error: BaseException) -> None:
    """One broken module must not take the others with it."""
    recorded: list[BaseException] = []

    with guarded(recorded.append):
        raise error

    assert recorded == [error]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_the_process_passes(error: BaseException) -> None:
    """An operator's Ctrl-C is no error of a module."""
    recorded: list[BaseException] = []

    with pytest.raises(type(error)), guarded(recorded.append):
        raise error

    assert recorded == []


def test_cancelling_the_task_passes() -> None:
    """A task that is asked to stop must stop, whatever it was calling just then."""
    recorded: list[BaseException] = []

    async def scene() -> None:
        entered = asyncio.Event()

        async def wait() -> None:
            with guarded(recorded.append):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())

    assert recorded == []
