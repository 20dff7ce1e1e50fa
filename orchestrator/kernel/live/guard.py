"""The edge of code that others registered: what it raises is recorded, and the next one has its turn.

What ends a process (KeyboardInterrupt, SystemExit) passes through, and so does the cancelling of the
task that is running. A CancelledError that the code raised by itself is an error like any other.
Where something is still to be finished before one of these is raised again, `even_fatal` records them, too.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def guarded(record: Callable[[BaseException], None], *, even_fatal: bool = False) -> Iterator[None]:
    """Run the block; give what it raises to `record` and go on after it."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, GeneratorExit) or not (even_fatal or _is_an_error(error)):
            raise  # of a GeneratorExit: the caller itself is being closed, and nothing may be awaited after it
        record(error)


def _is_an_error(error: BaseException) -> bool:
    if isinstance(error, asyncio.CancelledError):
        return not is_being_cancelled()
    return isinstance(error, Exception)


def is_being_cancelled() -> bool:
    """Say whether somebody has asked the running task to stop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0
