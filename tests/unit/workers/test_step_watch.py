"""A step's time limit is as sharp as asyncio's own, though its timer is armed once for many steps."""

import asyncio

import pytest

from workers.steps.watch import Watch


async def stall() -> None:
    """Wait for what never comes."""
    await asyncio.Event().wait()


def test_a_step_that_takes_too_long_is_stopped() -> None:
    """Otherwise one function of an app holds its session for ever."""

    async def play() -> None:
        watch = Watch()
        with pytest.raises(TimeoutError), watch.within(0.01):
            await stall()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(play())


def test_the_timer_of_an_earlier_step_does_not_stop_a_later_one() -> None:
    """It is armed for the first, fires while the second runs, and the second has time of its own."""

    async def play() -> None:
        watch = Watch()
        with watch.within(30):
            await asyncio.sleep(0)
        with watch.within(60):
            watch._look()  # the timer of the first
            await asyncio.sleep(0)
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), watch.within(0.05):
            await stall()
        assert loop.time() - began >= 0.05

    asyncio.run(play())


def test_a_shorter_limit_counts_though_the_timer_is_armed_for_longer() -> None:
    """A skill with a minute may be followed by one with a second."""

    async def play() -> None:
        watch, loop = Watch(), asyncio.get_running_loop()
        with watch.within(600):
            await asyncio.sleep(0)
        began = loop.time()
        with pytest.raises(TimeoutError), watch.within(0.01):
            await stall()
        assert loop.time() - began < 60

    asyncio.run(play())


def test_a_cancel_from_elsewhere_is_no_timeout() -> None:
    """A slice that is stopped must hear that it is stopped."""

    async def step(watch: Watch) -> None:
        with watch.within(60):
            await stall()

    async def play() -> None:
        task = asyncio.create_task(step(Watch()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())


def test_a_cancel_that_comes_with_the_timeout_goes_first() -> None:
    """Both at once: whoever stopped the slice counts on it."""

    async def step(watch: Watch) -> None:
        with watch.within(60):
            await stall()

    async def play() -> None:
        watch = Watch()
        task = asyncio.create_task(step(watch))
        await asyncio.sleep(0)
        watch._until = 0.0
        watch._look()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())


def test_an_error_of_the_step_is_its_own() -> None:
    """A limit says nothing about steps that fail in time."""

    async def play() -> None:
        with pytest.raises(KeyError), Watch().within(60):
            raise KeyError

    asyncio.run(play())


def test_a_closed_watch_leaves_nothing_on_the_loop() -> None:
    """A thousand slices a second must not leave a thousand timers for a minute each."""

    async def play() -> None:
        watch = Watch()
        with watch.within(60):
            pass
        timer = watch._timer
        assert timer is not None
        watch.close()
        assert timer.cancelled()

    asyncio.run(play())
