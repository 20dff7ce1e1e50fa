"""Count the bodies of blocking tools, so that hanging ones cannot pile up.

fastmcp runs a blocking (`def`) tool in a thread. A call whose time ran out leaves its thread behind: a thread
cannot be stopped. This module counts those that still run and refuses new calls at a limit.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from weakref import WeakSet

import anyio.to_thread

from orchestrator.contracts.errors import ToolUnavailable

P = ParamSpec("P")
R = TypeVar("R")


class ThreadBudget:
    """At most `threads` blocking calls at a time, and as many again that nobody waits for any more."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lock = threading.Lock()
        self._pid, self._inside = os.getpid(), 0
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()

    @property
    def inside(self) -> int:
        """How many bodies run now, waited for or not. A fork takes no thread along."""
        return self._inside if self._pid == os.getpid() else 0

    def check(self, where: str) -> None:
        """Raise ToolUnavailable when hanging calls fill the budget; size the loop's thread pool at first use."""
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            limiter = anyio.to_thread.current_default_thread_limiter()
            limiter.total_tokens = max(limiter.total_tokens, self.threads)
            self._loops.add(loop)
        if self.inside >= 2 * self.threads:
            raise ToolUnavailable(f"{where}: {self.inside} calls hang in threads; restart the worker or mend the tool")

    def counted(self, body: Callable[P, R]) -> Callable[P, R]:
        """Return `body` with the same signature, counted while it runs."""

        @functools.wraps(body)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            self._add(1)
            try:
                return body(*args, **kwargs)
            finally:
                self._add(-1)

        return run

    def _add(self, change: int) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._inside = os.getpid(), 0
            self._inside += change
