"""A time limit for steps that come one after another: one timer for all of a slice's steps.

`asyncio.timeout` arms a timer and disarms it each time, which costs as much as a short step does. Here the timer stays
armed from step to step; when it fires too early for the step that runs by then, it is armed for the rest. What
waits long anyway, such as a model call, keeps asyncio's own.
"""

import asyncio
from types import TracebackType


class Watch:
    """Stops the slice's running step when its time is over: `with watch.within(seconds): ...` raises TimeoutError."""

    __slots__ = ("_cancelling", "_is_over", "_loop", "_owner", "_task", "_timer", "_until")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: The slice, and the same while one of its steps runs.
        self._owner: asyncio.Task[object] | None = None
        self._task: asyncio.Task[object] | None = None
        self._until = 0.0
        self._cancelling = 0
        self._is_over = False

    def within(self, seconds: float) -> "Watch":
        """Set the limit of the step that begins."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        self._until = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._until:
            self.close()
            self._timer = loop.call_at(self._until, self._look)
        return self

    def __enter__(self) -> None:
        task = self._task = self._owner = self._owner or asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self._is_over or task is None:
            return
        self._is_over = False
        # Somebody else may have cancelled too, and goes first: then this is no timeout.
        if task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def _look(self) -> None:
        self._timer = None
        if self._task is None or self._loop is None:
            return  # no step runs; the next one arms it again
        if self._loop.time() >= self._until:
            self._is_over = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(self._until, self._look)

    def close(self) -> None:
        """Disarm it: the slice is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
