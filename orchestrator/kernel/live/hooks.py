"""The registry of hooks in one process: who listens to which event, and the calling of them.

Handlers of an event run one after another, lower priority first, equal ones in the order in which
they were registered. Each gets a copy of the data of its own. An error in one is logged and it is
passed over; an answer that cannot be read denies. What the answers come to is decided by
`kernel/hook_merge.py`; doing what the answer says is the work of `processing.py`.
"""

import asyncio
import logging
import operator
from bisect import insort
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import isawaitable
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import uuid4

from orchestrator.contracts import event_names
from orchestrator.contracts.hook_result import CONTINUE, INVALID_RESPONSE, HookResult, parse_hook_result
from orchestrator.contracts.ports import HookHandler
from orchestrator.kernel.hook_data import complete_data, decode_data, encode_data
from orchestrator.kernel.hook_merge import NOTHING, choose_result, fold_result
from orchestrator.kernel.live.guard import guarded

logger = logging.getLogger(__name__)

#: Seconds that a handler has when answers are only collected.
COLLECT_SECONDS: Final = 1.0
_FAILED: Final = object()


def utc_now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)


class _Entry(NamedTuple):
    """A handler in its place; entries of an event are kept in the order of the first two fields."""

    priority: int
    number: int
    name: str
    handler: HookHandler


class HookRegistry:
    """Who listens to which event. Names of events are free text; there are no wildcards.

    May be emitted to from within a handler and from several tasks at once: every emit calls the
    handlers that were registered when it began.
    """

    SESSION_START: Final = event_names.SESSION_START
    SESSION_END: Final = event_names.SESSION_END
    PROMPT_SUBMIT: Final = event_names.PROMPT_SUBMIT
    TOOL_PRE: Final = event_names.TOOL_PRE
    TOOL_POST: Final = event_names.TOOL_POST
    CONTEXT_PRE_COMPACT: Final = event_names.CONTEXT_PRE_COMPACT
    ORCHESTRATOR_COMPLETE: Final = event_names.ORCHESTRATOR_COMPLETE
    USER_NOTIFICATION: Final = event_names.USER_NOTIFICATION

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._entries: dict[str, list[_Entry]] = {}
        self._defaults: dict[str, Any] = {}
        self._numbers = count()

    # --- who listens

    def register(
        self, event: str, handler: HookHandler, priority: int = 0, name: str | None = None
    ) -> Callable[[], None]:
        """Let a handler listen to an event; return what ends exactly this, however often it is called.

        A handler takes (event, data) and answers with None, a mapping of HookResult's fields or a
        HookResult, at once or awaited. An older name of an event stands for its successor. Raise TypeError
        for an event or name that is no text, a priority that is no integer, a handler that cannot be called.
        """
        if not isinstance(event, str):
            raise TypeError(f"hook: event {event!r} is no text; give an event's name")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"hook for {event!r}: name {name!r} is no text; give one or leave it out")
        if not callable(handler):
            raise TypeError(f"hook for {event!r}: {handler!r} cannot be called; give a function of (event, data)")
        event = event_names.canonical_event(event)
        entry = _Entry(
            operator.index(priority), next(self._numbers), f"_auto_{event}_{uuid4()}" if name is None else name, handler
        )
        insort(self._entries.setdefault(event, []), entry, key=operator.itemgetter(0, 1))

        def unregister() -> None:
            self._remove(event, entry)

        return unregister

    #: The same, for those who read `hooks.on("tool:pre", audit)` more easily.
    on = register

    def unregister(self, name: str) -> None:
        """Remove the handler that was last registered under this name, of whatever event; none is no error."""
        named = [(event, entry) for event, entries in self._entries.items() for entry in entries if entry.name == name]
        if named:
            self._remove(*max(named, key=lambda found: found[1].number))

    def list_handlers(self, event: str | None = None) -> dict[str, list[str]]:
        """Return the names of handlers by event, in the order in which they run; an event asked for is always there."""
        if event is not None:
            return {event: [entry.name for entry in self._entries.get(event_names.canonical_event(event), ())]}
        return {known: [entry.name for entry in entries] for known, entries in self._entries.items()}

    def set_default_fields(self, **fields: Any) -> None:
        """Set what every event's data has unless it says otherwise; replaces what was set before."""
        self._defaults = fields

    # --- telling them

    async def emit(self, event: str, data: Any) -> HookResult:
        """Tell the event's handlers, one after another, and return what their answers come to.

        The data of the answer is the event's, with the default fields and `timestamp`, or what a hook
        put in its place; where nobody listens it is the data as given. A denial is returned at once, and the
        handlers after it are not called. Handlers have no time limit here. Raise EventDataInvalid.
        """
        entries = self._listening(event)
        if not entries:
            return CONTINUE.model_copy(update={"data": data if isinstance(data, dict) else {}})
        encoded = encode_data(event, complete_data(data, self._defaults, self._clock()))
        collected = NOTHING
        for entry in entries:
            given = decode_data(event, encoded)
            answer = await self._call(entry, event, given)
            if answer is _FAILED or answer is None:
                continue
            result = _read(answer)
            before, collected = collected, fold_result(collected, result)
            if collected.denied is not None:
                return collected.denied
            if collected.data is not before.data:
                encoded = encode_data(event, collected.data)
        final = decode_data(event, encoded) if isinstance(data, dict) else {}
        return choose_result(collected, final)

    async def emit_and_collect(self, event: str, data: Any, timeout: float = COLLECT_SECONDS) -> list[dict[str, Any]]:  # noqa: ASYNC109 - each handler's own, not the whole call's
        """Tell the event's handlers and return the data that they answer, in order; actions mean nothing here.

        The data is given as it is, without default fields and time. Each handler has `timeout` seconds;
        one that takes longer, raises, or answers what cannot be read adds nothing. Raise EventDataInvalid.
        """
        entries = self._listening(event)
        if not entries:
            return []
        encoded = encode_data(event, data)
        collected = []
        for entry in entries:
            answer = await self._call(entry, event, decode_data(event, encoded), timeout)
            if answer is _FAILED or answer is None:
                continue
            result = _read(answer)
            if result.data is not None:
                collected.append(result.data)
        return collected

    def _listening(self, event: str) -> tuple[_Entry, ...]:
        return tuple(self._entries.get(event_names.canonical_event(event), ()))

    def _remove(self, event: str, entry: _Entry) -> None:
        self._entries[event] = [other for other in self._entries[event] if other.number != entry.number]

    async def _call(self, entry: _Entry, event: str, data: Any, seconds: float | None = None) -> object:
        """Return what a handler answers, or _FAILED where it raised or took too long."""
        limit = None if seconds is None else asyncio.timeout(seconds)

        def record(error: BaseException) -> None:
            if limit is not None and limit.expired() and isinstance(error, TimeoutError):
                logger.warning("Hook handler timed out for event %r (handler %r)", event, entry.name)
                return
            logger.error(
                "Hook handler error for event %r (handler %r): %s: %s",
                event,
                entry.name,
                type(error).__name__,
                error,
                exc_info=error,
            )

        answer: object = _FAILED
        with guarded(record):
            returned = entry.handler(event, data)
            if not isawaitable(returned):
                answer = returned
            elif limit is None:
                answer = await returned
            else:
                async with limit:
                    answer = await returned
        return answer


def _read(answer: object) -> HookResult:
    """Return a handler's answer as a result; what cannot be read, for whatever cause, denies."""

    def record(error: BaseException) -> None:
        logger.error("SECURITY: Hook handler returned unparseable result — failing closed (Deny): %s", error)

    with guarded(record):
        return parse_hook_result(answer)
    return INVALID_RESPONSE
