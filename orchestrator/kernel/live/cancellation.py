"""Ask the work of one process to stop, gently or at once, and let everything below hear it.

    none ──graceful──> graceful ──immediate──> immediate        reset: back to none
    none ──────────────immediate─────────────> immediate

Graceful means: finish the tools that run, then stop. Immediate means: stop now. What that comes to
is the orchestrator's to do; the token is only what everyone looks at. A request goes down to the
children when it changes something, and never up. A session that lives longer than its process is
cancelled by a post instead (kernel/delivery.py).

A token may be asked from another thread, and from a signal handler, which Python runs on the main
thread between any two instructions, those that hold this token's lock included. So the lock is one
that its thread may take again, what was asked is a set that only grows, and a waiter stands in line
before it looks whether it has to wait.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import TypeAlias, assert_never

from orchestrator.kernel.live.guard import guarded

log = logging.getLogger(__name__)

CancelCallback: TypeAlias = Callable[[], Awaitable[object] | object]


class CancellationState(StrEnum):
    """How far a request to stop has gone."""

    NONE = "none"
    GRACEFUL = "graceful"
    IMMEDIATE = "immediate"


_RANK = {CancellationState.NONE: 0, CancellationState.GRACEFUL: 1, CancellationState.IMMEDIATE: 2}


class CancellationToken:
    """What one session's work looks at to learn whether it should stop."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._children: list[CancellationToken] = []
        self._callbacks: list[CancelCallback] = []
        self._tools: dict[str, str] = {}
        self._waiters: list[tuple[asyncio.Future[CancellationState], CancellationState]] = []
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"CancellationToken({self.state.value})"

    @property
    def state(self) -> CancellationState:
        """none, graceful or immediate; equal to these words."""
        asked = self._asked
        if CancellationState.IMMEDIATE.value in asked:
            return CancellationState.IMMEDIATE
        return CancellationState.GRACEFUL if asked else CancellationState.NONE

    @property
    def is_cancelled(self) -> bool:
        """Whether anybody asked to stop, in either way."""
        return bool(self._asked)

    @property
    def is_graceful(self) -> bool:
        """Whether running tools may still finish."""
        return self.state is CancellationState.GRACEFUL

    @property
    def is_immediate(self) -> bool:
        """Whether everything stops now."""
        return self.state is CancellationState.IMMEDIATE

    def request_graceful(self) -> bool:
        """Ask to stop after the running tools; return whether that changed anything."""
        return self._raise_to(CancellationState.GRACEFUL)

    def request_immediate(self) -> bool:
        """Ask to stop at once; return whether that changed anything."""
        return self._raise_to(CancellationState.IMMEDIATE)

    def request_cancellation(self) -> None:
        """Ask to stop after the running tools."""
        self.request_graceful()

    def reset(self) -> None:
        """Forget the request and the running tools, for a new turn. Children and callbacks stay as they are."""
        with self._lock:
            self._asked.clear()
            self._tools.clear()

    def register_child(self, child: "CancellationToken") -> None:
        """Let a child hear what is asked of this token, what was asked already included."""
        with self._lock:
            self._children.append(child)
            state = self.state
        _ask(child, state)

    def unregister_child(self, child: "CancellationToken") -> None:
        """Let a child go, however often it was registered; it keeps its state."""
        with self._lock:
            self._children = [one for one in self._children if one is not child]

    def register_tool_start(self, tool_call_id: str, tool_name: str) -> None:
        """Note that a tool call runs."""
        with self._lock:
            self._tools[tool_call_id] = tool_name

    def register_tool_complete(self, tool_call_id: str) -> None:
        """Note that a tool call came to its end; one that is not known is ignored."""
        with self._lock:
            self._tools.pop(tool_call_id, None)

    @property
    def running_tools(self) -> set[str]:
        """Ids of the tool calls that run, as a copy."""
        with self._lock:
            return set(self._tools)

    @property
    def running_tool_names(self) -> list[str]:
        """Names of the tools that run, oldest call first; a name stands once for each of its calls."""
        with self._lock:
            return list(self._tools.values())

    def on_cancel(self, callback: CancelCallback) -> None:
        """Keep a function, sync or async, for `trigger_callbacks`."""
        with self._lock:
            self._callbacks.append(callback)

    async def trigger_callbacks(self) -> None:
        """Run every callback in the order of registration; one that fails is logged and stops no other.

        Nothing calls this by itself: the orchestrator does, once it has stopped. The callbacks stay
        registered. When the caller's own task is cancelled meanwhile, the rest still runs, and then
        it is cancelled.
        """
        with self._lock:
            callbacks = list(self._callbacks)
        task = asyncio.current_task()
        requests_before = task.cancelling() if task is not None else 0
        for callback in callbacks:
            try:
                with guarded(partial(_record_failure, callback)):
                    result = callback()
                    if inspect.isawaitable(result):
                        await result
            except asyncio.CancelledError as error:
                _record_failure(callback, error)
        if task is not None and task.cancelling() > requests_before:
            raise asyncio.CancelledError

    async def wait_cancelled(self, *, immediate: bool = False) -> CancellationState:
        """Return the state as soon as somebody asks to stop; with `immediate`, only when it is at once."""
        wanted = CancellationState.IMMEDIATE if immediate else CancellationState.GRACEFUL
        future: asyncio.Future[CancellationState] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiters.append((future, wanted))
        try:
            return self.state if _RANK[self.state] >= _RANK[wanted] else await future
        finally:
            with self._lock:
                self._waiters = [one for one in self._waiters if one[0] is not future]

    def _raise_to(self, state: CancellationState) -> bool:
        with self._lock:
            if _RANK[self.state] >= _RANK[state]:
                return False
            self._asked.add(state.value)
            children = list(self._children)
            waiters = [future for future, wanted in self._waiters if _RANK[state] >= _RANK[wanted]]
        for future in waiters:
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future, state)
        for child in children:
            _ask(child, state)
        return True


def _record_failure(callback: CancelCallback, error: BaseException) -> None:
    log.error("cancellation: callback %r failed; the others go on", callback, exc_info=error)


def _ask(token: CancellationToken, state: CancellationState) -> None:
    match state:
        case CancellationState.GRACEFUL:
            token.request_graceful()
        case CancellationState.IMMEDIATE:
            token.request_immediate()
        case CancellationState.NONE:
            pass
        case _:
            assert_never(state)


def _wake(future: "asyncio.Future[CancellationState]", state: CancellationState) -> None:
    if not future.done():
        future.set_result(state)
