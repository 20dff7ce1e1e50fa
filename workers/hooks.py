"""Call an app's hooks: who listens to which event, in which order, each within its time.

One book per app and process. A handler gets a copy of the data of its own and answers as contracts/hook_result.py says; a
plain function runs in a thread, so that it cannot hold the loop, and at most THREADS of them at once. What is done about one
that fails:

    raises, or takes too long    critical: denied · otherwise passed over, with a note for the journal
    answers what cannot be read  denied

Nothing here changes a session: what the answers do to a step is decided in steps/hook_run.py. Where nobody listens to an
event, nothing is built, copied or called.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, NamedTuple, cast

import anyio.to_thread
from anyio import CapacityLimiter

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import EventDataInvalid
from orchestrator.contracts.event_names import canonical_event
from orchestrator.contracts.hook_result import INVALID_RESPONSE, HookResult, parse_hook_result
from orchestrator.contracts.hooks import HookSpec
from orchestrator.kernel.hook_data import complete_data, decode_data, encode_data
from orchestrator.kernel.live.guard import guarded
from orchestrator.kernel.redaction import truncate_for_log

log = logging.getLogger(__name__)

#: Plain functions that run at once in one process; one that hangs keeps its place.
THREADS: Final = 16
#: Characters of an error that the journal keeps.
ERROR_CHARS: Final = 500

LoadFunction = Callable[[str], Callable[..., object]]


class Listener(NamedTuple):
    """A hook in its place: what was declared of it, and the function."""

    spec: HookSpec
    handler: Callable[..., object]
    is_async: bool

    @property
    def label(self) -> str:
        """What the journal calls it."""
        return self.spec.label


class Answer(NamedTuple):
    """What one hook said, in the order in which they ran; `failure` in place of an answer that there was not."""

    listener: Listener
    result: HookResult | None
    failure: str = ""


class Told(NamedTuple):
    """What an event's hooks said: every answer that was one or failed, and the data as the last change left it.

    `denied` ends the list: hooks after it were not called. `data` is None where no hook changed it.
    """

    answers: tuple[Answer, ...] = ()
    denied: Answer | None = None
    asked: Answer | None = None
    data: JsonObject | None = None
    changed_by: tuple[str, ...] = ()


NOBODY: Final = Told()


class HookBook:
    """Who listens to what, of one app."""

    def __init__(self, listeners: Mapping[str, Sequence[Listener]]) -> None:
        self._listeners = {event: tuple(there) for event, there in listeners.items()}
        self._threads: CapacityLimiter | None = None

    def hears(self, *events: str) -> bool:
        """Say whether anybody listens to one of these events."""
        return any(event in self._listeners for event in events)

    def listeners(self, event: str) -> tuple[Listener, ...]:
        """Return who listens to an event, in the order in which they run."""
        return self._listeners.get(event, ())

    async def emit(self, event: str, data: JsonObject, defaults: Mapping[str, Any]) -> Told:
        """Tell the event's hooks, one after another, until one denies. Nothing that a hook does raises here."""
        listeners = self._listeners.get(event)
        if not listeners:
            return NOBODY
        try:
            encoded = encode_data(event, complete_data(data, defaults, datetime.now(UTC)))
        except EventDataInvalid as error:
            return _untold(listeners, str(error))
        answers: list[Answer] = []
        asked: Answer | None = None
        changed: JsonObject | None = None
        changed_by: list[str] = []
        for listener in listeners:
            answer = await self._ask(listener, event, encoded)
            if answer is None:
                continue
            answers.append(answer)
            result = answer.result
            if result is None:
                continue
            if result.action == "deny":
                return Told(tuple(answers), denied=answer)
            if result.action == "ask_user" and asked is None:
                asked = answer
            elif result.action == "modify" and result.data is not None:
                changed = cast("JsonObject", result.data)
                changed_by.append(listener.label)
                encoded = encode_data(event, changed)
        return Told(tuple(answers), None, asked, changed, tuple(changed_by))

    async def _ask(self, listener: Listener, event: str, encoded: bytes) -> Answer | None:
        """Return what one hook says, None where it only watched."""
        problems: list[BaseException] = []
        limit = asyncio.timeout(listener.spec.timeout_seconds)
        returned: object = None
        with guarded(problems.append):
            given = decode_data(event, encoded)
            async with limit:
                returned = await self._call(listener, event, given)
        if problems:
            return _failed(listener, event, problems[0], is_late=limit.expired())
        if returned is None:
            return None
        with guarded(problems.append):
            return Answer(listener, parse_hook_result(returned))
        log.error(
            "SECURITY: hook %r of %s answered what cannot be read, and denies: %s", listener.label, event, problems
        )
        return Answer(listener, INVALID_RESPONSE, truncate_for_log(str(problems[0]), ERROR_CHARS))

    async def _call(self, listener: Listener, event: str, data: object) -> object:
        if listener.is_async:
            return await cast("Awaitable[object]", listener.handler(event, data))
        if self._threads is None:
            self._threads = CapacityLimiter(THREADS)
        call = partial(listener.handler, event, data)
        returned = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)
        return await returned if isawaitable(returned) else returned


def build_book(spec: AppSpec, load_function: LoadFunction) -> HookBook | None:
    """Return an app's hooks in the order in which they run, None where it declares none; raise AppCodeInvalid."""
    if not spec.hooks:
        return None
    listeners: dict[str, list[Listener]] = {}
    for hook in sorted(spec.hooks, key=lambda one: one.priority):  # stable: equal ones stay as they are declared
        handler = load_function(hook.call)
        is_async = iscoroutinefunction(handler) or iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - an object's own call may be async
        listeners.setdefault(canonical_event(hook.event), []).append(Listener(hook, handler, is_async))
    return HookBook(listeners)


def _failed(listener: Listener, event: str, error: BaseException, *, is_late: bool) -> Answer:
    """Return what stands for the answer of a hook that raised or took too long."""
    seconds = listener.spec.timeout_seconds
    what = f"no answer in {seconds:g} s" if is_late else f"{type(error).__name__}: {error}"
    what = truncate_for_log(what.encode(errors="replace").decode(), ERROR_CHARS)
    log.error("hook %r of %s failed: %s", listener.label, event, what, exc_info=None if is_late else error)
    return _without_answer(listener, what)


def _without_answer(listener: Listener, what: str) -> Answer:
    if not listener.spec.critical:
        return Answer(listener, None, what)
    return Answer(listener, HookResult(action="deny", reason=f"critical hook {listener.label} failed: {what}"), what)


def _untold(listeners: Sequence[Listener], what: str) -> Told:
    """Return what stands for the answers of hooks that could not be told: the first critical one denies."""
    answers = []
    for listener in listeners:
        answer = _without_answer(listener, what)
        answers.append(answer)
        if answer.result is not None:
            return Told(tuple(answers), denied=answer)
    return Told(tuple(answers))
