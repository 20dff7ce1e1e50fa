"""Asking one process's work to stop: states, children, tools, callbacks, and waiting for the request."""

import asyncio
import logging
import multiprocessing
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.live.cancellation import CancellationState, CancellationToken

NONE, GRACEFUL, IMMEDIATE = CancellationState.NONE, CancellationState.GRACEFUL, CancellationState.IMMEDIATE


def test_a_request_says_whether_it_changed_anything_and_never_goes_back() -> None:
    """Immediate outranks graceful; a second Ctrl-C of the same kind is heard once."""
    token = CancellationToken()

    assert (token.state, token.is_cancelled, token.is_graceful, token.is_immediate) == (NONE, False, False, False)
    assert [token.request_graceful(), token.request_graceful()] == [True, False]
    assert (token.state, token.is_cancelled, token.is_graceful, token.is_immediate) == ("graceful", True, True, False)
    assert [token.request_immediate(), token.request_immediate(), token.request_graceful()] == [True, False, False]
    assert (token.state, token.is_cancelled, token.is_graceful, token.is_immediate) == ("immediate", True, False, True)


def test_the_plain_request_is_graceful_and_says_nothing() -> None:
    """The older name."""
    token = CancellationToken()

    assert token.request_cancellation() is None  # type: ignore[func-returns-value]
    assert (token.state, str(token.state), repr(token)) == (GRACEFUL, "graceful", "CancellationToken(graceful)")


OPERATIONS = st.lists(st.sampled_from(["graceful", "immediate", "reset"]), max_size=12)


@given(OPERATIONS)
def test_any_sequence_ends_where_its_highest_request_since_the_last_reset_is(operations: list[str]) -> None:
    """And a child has the highest request of all, for a reset does not reach it."""
    token, child = CancellationToken(), CancellationToken()
    token.register_child(child)
    rank = ["none", "graceful", "immediate"]
    expected = heard = 0

    for operation in operations:
        if operation == "reset":
            assert token.reset() is None  # type: ignore[func-returns-value]
            expected = 0
        else:
            asked = rank.index(operation)
            request = token.request_graceful if operation == "graceful" else token.request_immediate
            assert request() is (asked > expected)
            heard = max(heard, asked) if asked > expected else heard
            expected = max(expected, asked)
        assert (token.state, child.state) == (rank[expected], rank[heard])


def test_a_child_hears_its_parent_and_never_the_other_way() -> None:
    """Stopping one sub-agent must not stop the session."""
    parent, child, grandchild = CancellationToken(), CancellationToken(), CancellationToken()
    parent.register_child(child)
    child.register_child(grandchild)

    child.request_immediate()
    assert (parent.state, grandchild.state) == (NONE, IMMEDIATE)

    parent.request_graceful()
    assert child.state == IMMEDIATE


def test_a_child_that_comes_late_is_told_at_once_and_one_that_left_no_more() -> None:
    """Sub-agents come and go while a session is being stopped."""
    parent, late, gone = CancellationToken(), CancellationToken(), CancellationToken()
    parent.register_child(gone)
    parent.register_child(gone)
    parent.unregister_child(gone)
    parent.unregister_child(CancellationToken())

    parent.request_graceful()
    parent.register_child(late)

    assert (late.state, gone.state) == (GRACEFUL, NONE)


def test_tokens_that_are_each_others_children_come_to_an_end() -> None:
    """A request is passed on only by what it changed."""
    one, two = CancellationToken(), CancellationToken()
    one.register_child(two)
    two.register_child(one)
    one.register_child(one)

    assert one.request_graceful()
    assert two.state == GRACEFUL


def test_tools_are_known_by_their_ids_and_may_share_a_name() -> None:
    """What a graceful stop waits for."""
    token = CancellationToken()
    for call_id, name in (("1", "read"), ("2", "read"), ("1", "write")):
        token.register_tool_start(call_id, name)
    token.register_tool_complete("unknown")

    assert (token.running_tools, token.running_tool_names) == ({"1", "2"}, ["write", "read"])
    token.running_tools.clear()
    token.register_tool_complete("1")
    assert token.running_tools == {"2"}


def test_a_reset_forgets_the_tools_and_keeps_children_and_callbacks() -> None:
    """A new turn of the same session."""
    token, child, ran = CancellationToken(), CancellationToken(), []
    token.register_child(child)
    token.on_cancel(lambda: ran.append("callback"))
    token.register_tool_start("1", "read")
    token.request_graceful()

    token.reset()

    assert (token.state, token.running_tools, child.state) == (NONE, set(), GRACEFUL)
    asyncio.run(token.trigger_callbacks())
    token.request_immediate()
    assert (child.state, ran) == (IMMEDIATE, ["callback"])


def test_callbacks_run_only_when_triggered_in_order_and_again() -> None:
    """Functions, coroutines and functions that return one."""
    token, ran = CancellationToken(), []

    async def later(word: str) -> None:
        ran.append(word)

    token.on_cancel(lambda: ran.append("a"))
    token.on_cancel(lambda: later("b"))
    token.request_immediate()
    assert ran == []

    async def twice() -> None:
        await token.trigger_callbacks()
        await token.trigger_callbacks()

    asyncio.run(twice())
    assert ran == ["a", "b", "a", "b"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()])
def test_a_callback_that_fails_is_logged_and_stops_no_other(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopping must not be stopped by what is stopped."""
    token, ran = CancellationToken(), []

    def fail() -> None:
        raise error

    token.on_cancel(fail)
    token.on_cancel(lambda: ran.append("next"))

    with caplog.at_level(logging.ERROR):
        asyncio.run(token.trigger_callbacks())

    assert ran == ["next"]
    assert "failed; the others go on" in caplog.text


def test_when_the_caller_is_cancelled_the_other_callbacks_run_and_then_it_is() -> None:
    """A deadline around the clean-up neither skips it nor is swallowed."""
    token, ran = CancellationToken(), []

    async def work() -> bool:
        begun = asyncio.Event()

        async def hang() -> None:
            begun.set()
            await asyncio.Event().wait()

        token.on_cancel(hang)
        token.on_cancel(lambda: ran.append("next"))
        call = asyncio.ensure_future(token.trigger_callbacks())
        await begun.wait()
        call.cancel()
        await asyncio.wait({call})
        return call.cancelled()

    assert asyncio.run(work())
    assert ran == ["next"]


def test_callbacks_run_in_a_task_that_was_cancelled_before() -> None:
    """An orchestrator stops in the handler of its own cancel."""
    token, ran = CancellationToken(), []

    def fail() -> None:
        raise asyncio.CancelledError

    token.on_cancel(fail)
    token.on_cancel(lambda: ran.append("next"))

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await token.trigger_callbacks()
        return "stopped"

    async def play() -> str:
        call = asyncio.ensure_future(work())
        await asyncio.wait({asyncio.ensure_future(_tick())})
        call.cancel()
        return await call

    assert asyncio.run(play()) == "stopped"
    assert ran == ["next"]


async def _tick() -> None:
    """Let every task that is ready run once."""


def test_a_request_wakes_whoever_waits_for_it() -> None:
    """Each for what it waits for: some care only when it is at once."""
    token = CancellationToken()

    async def play() -> list[CancellationState]:
        gentle = asyncio.ensure_future(token.wait_cancelled())
        sudden = asyncio.ensure_future(token.wait_cancelled(immediate=True))
        await asyncio.wait({asyncio.ensure_future(_tick())})
        token.request_graceful()
        first = await gentle
        assert not sudden.done()
        token.request_immediate()
        return [first, await sudden, await token.wait_cancelled()]

    assert asyncio.run(play()) == [GRACEFUL, IMMEDIATE, IMMEDIATE]


def test_a_request_from_another_thread_wakes_the_loop() -> None:
    """A signal handler and a console run elsewhere."""
    parent, child = CancellationToken(), CancellationToken()
    parent.register_child(child)

    async def play() -> CancellationState:
        waiting = asyncio.ensure_future(child.wait_cancelled())
        await asyncio.wait({asyncio.ensure_future(_tick())})
        thread = threading.Thread(target=parent.request_immediate)
        thread.start()
        async with asyncio.timeout(60):
            state = await waiting
        thread.join()
        return state

    assert asyncio.run(play()) == IMMEDIATE


def test_a_wait_that_is_given_up_is_forgotten() -> None:
    """And a request after its loop has gone harms nobody."""
    token = CancellationToken()

    async def play() -> None:
        waiting = asyncio.ensure_future(token.wait_cancelled())
        await asyncio.wait({asyncio.ensure_future(_tick())})
        waiting.cancel()
        await asyncio.wait({waiting})

    asyncio.run(play())

    assert token.request_graceful()


def test_a_wait_ends_once_with_the_first_request_however_many_follow() -> None:
    """The second one comes before the loop has woken anybody, and must break nothing."""
    token, faults = CancellationToken(), list[object]()

    async def play() -> CancellationState:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        waiting = asyncio.ensure_future(token.wait_cancelled())
        await asyncio.wait({asyncio.ensure_future(_tick())})
        assert (token.request_graceful(), token.request_immediate()) == (True, True)
        state = await waiting
        await asyncio.wait({asyncio.ensure_future(_tick())})
        return state

    assert (asyncio.run(play()), token.state, faults) == (GRACEFUL, IMMEDIATE, [])


def test_a_loop_that_was_closed_under_a_wait_is_left_alone() -> None:
    """Its thread is gone; whoever asks to stop is heard by the others."""
    token, child, loop = CancellationToken(), CancellationToken(), asyncio.new_event_loop()
    token.register_child(child)

    async def begin() -> Coroutine[Any, Any, CancellationState]:
        waiting = token.wait_cancelled()
        waiting.send(None)
        return waiting

    waiting = loop.run_until_complete(begin())
    loop.close()

    assert token.request_graceful()
    assert child.state == GRACEFUL
    waiting.close()


class _Interrupting(str):
    """An id whose look-up is interrupted by a signal: it is looked up while the token's lock is held."""

    __slots__ = ()

    def __hash__(self) -> int:
        signal.raise_signal(signal.SIGUSR1)
        return super().__hash__()


def _ask_from_a_signal_handler() -> None:
    token, child = CancellationToken(), CancellationToken()
    token.register_child(child)
    signal.signal(signal.SIGUSR1, lambda *_: token.request_immediate())
    token.register_tool_start(_Interrupting("call"), "search")
    sys.exit(0 if token.is_immediate and child.is_immediate else 1)


def test_a_signal_handler_may_ask_while_the_token_is_being_written() -> None:
    """Python runs it on the thread that holds the lock; in a process of its own, because it would stand still."""
    process = multiprocessing.get_context("spawn").Process(target=_ask_from_a_signal_handler)
    process.start()
    process.join(60)
    is_stuck = process.is_alive()
    process.kill()
    process.join()
    assert not is_stuck
    assert process.exitcode == 0
