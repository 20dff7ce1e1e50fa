"""The edge of code that others registered: what it raises is recorded, and the next one has its turn.

What ends a process (KeyboardInterrupt, SystemExit) passes through, and so does the cancelling of the
task that is running. A CancelledError that the code raised by itself is an error like any other.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def guarded(record: Callable[[BaseException], None]) -> Iterator[None]:
    """Run the block; give what it raises to `record` and go on after it."""
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
            raise
        record(error)


def is_being_cancelled() -> bool:
    """Say whether somebody has asked the running task to stop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0
