"""Call what a module brought: a callback, a contributor, a cleanup function, a loader.

Such code may be sync or async, may return a coroutine, and may raise whatever it likes. This is
the one place that meets it; the caller says how an error is recorded and decides what it means.
Errors are never dropped: they come back as values.
"""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from orchestrator.kernel.live.guard import guarded

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a call came to: its value, or the error that it raised."""

    value: Any = None
    error: BaseException | None = None


async def settle_awaitable(value: Any) -> Any:
    """Return a value, awaited for as long as it is awaitable: a coroutine may return another one."""
    while inspect.isawaitable(value):
        value = await value
    return value


async def attempt(
    function: Callable[..., Any], *args: Any, record: Callable[[BaseException], None], **kwargs: Any
) -> Outcome:
    """Call a function, sync or async; whatever it raises is recorded and returned.

    KeyboardInterrupt, SystemExit and CancelledError come back like the rest: it is the caller who
    knows whether there is something to be finished before one of them is raised again.
    """
    errors: list[BaseException] = []
    value = None
    with guarded(errors.append, even_fatal=True):
        value = await settle_awaitable(function(*args, **kwargs))
    if not errors:
        return Outcome(value=value)
    record(errors[0])
    return Outcome(error=errors[0])


async def clean_up(parts: Iterable[Callable[[], Any]]) -> None:
    """Run every part, whatever the others raise; errors are logged.

    The first that is no Exception (KeyboardInterrupt, SystemExit, CancelledError) is raised again when all have run.
    """
    fatal: BaseException | None = None
    for part in parts:
        error = (await attempt(part, record=_record_cleanup)).error
        if fatal is None and error is not None and not isinstance(error, Exception):
            fatal = error
    if fatal is not None:
        raise fatal


def _record_cleanup(error: BaseException) -> None:
    logger.error("Error during cleanup: %s: %s", type(error).__name__, error, exc_info=error)
