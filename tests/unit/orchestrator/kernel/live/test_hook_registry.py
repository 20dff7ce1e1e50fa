"""Who listens, in which order they are called, and what an emit comes to."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.contracts.errors import EventDataInvalid
from orchestrator.contracts.hook_result import INVALID_RESPONSE, HookResult
from orchestrator.kernel.live.hooks import HookRegistry

AT = datetime(2030, 1, 2, tzinfo=UTC)
STAMP = "2030-01-02T00:00:00.000000+00:00"


def registry(*answers: Any) -> HookRegistry:
    """Return a registry in which these listen to "e", in this order; a function is a handler, anything else an answer."""
    hooks = HookRegistry(clock=lambda: AT)
    for answer in answers:
        hooks.register("e", answer if callable(answer) else answering(answer))
    return hooks


def answering(answer: Any) -> Callable[[str, Any], Coroutine[Any, Any, Any]]:
    """Return a handler that always answers this."""

    async def handle(event: str, data: Any) -> Any:
        return answer

    return handle


def raising(error: BaseException) -> Callable[[str, Any], Any]:
    """Return a handler that always raises this."""

    async def handle(event: str, data: Any) -> Any:
        raise error

    return handle


async def hanging(event: str, data: Any) -> Any:
    """Wait for what never comes."""
    await asyncio.Event().wait()


def emit(hooks: HookRegistry, data: Any) -> HookResult:
    """Emit "e"."""
    return asyncio.run(hooks.emit("e", data))


# --- who listens


def test_lower_priorities_run_first_and_equal_ones_in_order() -> None:
    """A gate that has to be first says so with a number."""
    hooks = HookRegistry()
    hooks.on("e", answering(None), name="b")  # without one it is 0
    for name, priority in [("d", 7), ("a", -5), ("c", 0)]:
        hooks.on("e", answering(None), priority, name)

    assert hooks.list_handlers("e") == {"e": ["a", "b", "c", "d"]}


def test_a_handler_without_a_name_gets_one() -> None:
    """Every line in a log names the handler that it is about."""
    hooks = registry(None, None)

    first, second = hooks.list_handlers("e")["e"]
    assert first.startswith("_auto_e_")
    assert first != second


def test_an_event_nobody_listens_to_is_listed_when_asked_for() -> None:
    """The caller need not know whether it was ever registered."""
    hooks = HookRegistry()
    hooks.register("b", answering(None))()

    assert hooks.list_handlers("a") == {"a": []}
    assert hooks.list_handlers() == {"b": []}


def test_what_register_returns_removes_exactly_its_own() -> None:
    """Two modules may choose the same name, and each takes away only what it brought."""
    hooks = HookRegistry()
    first = hooks.register("a", answering(None), name="same")
    hooks.register("b", answering(None), name="same")
    hooks.register("a", answering(None), name="same")

    first()
    first()

    assert hooks.list_handlers() == {"a": ["same"], "b": ["same"]}


def test_unregistering_a_name_removes_the_last_that_took_it() -> None:
    """Of whatever event; a name that nobody has is no error."""
    hooks = HookRegistry()
    hooks.register("b", answering(None), name="same")
    hooks.register("a", answering(None), name="same")

    hooks.unregister("other")
    assert hooks.list_handlers() == {"b": ["same"], "a": ["same"]}
    hooks.unregister("same")

    assert hooks.list_handlers() == {"b": ["same"], "a": []}


@pytest.mark.parametrize(
    "args", [(5, print), ("e", print, "x"), ("e", print, 1.5), ("e", print, None), ("e", print, 0, 5), ("e", 5)]
)
def test_a_registration_that_cannot_work_is_refused(args: tuple[Any, ...]) -> None:
    """A hook that is never called guards nothing."""
    hooks = HookRegistry()

    with pytest.raises(TypeError):
        hooks.register(*args)

    assert hooks.list_handlers("e") == {"e": []}


def test_the_constants_name_events() -> None:
    """`hooks.on(hooks.TOOL_PRE, …)` needs no further import."""
    names = {name: value for name, value in vars(HookRegistry).items() if name.isupper()}

    assert len(names) == 8
    assert (names["TOOL_PRE"], names["CONTEXT_PRE_COMPACT"]) == ("tool:pre", "context:pre_compact")


def test_an_older_name_listens_to_what_is_really_sent() -> None:
    """And is told the name under which it was sent, once."""
    told: list[str] = []
    hooks = HookRegistry()
    hooks.register("llm:pre", lambda event, data: told.append(event), name="n")

    asyncio.run(hooks.emit("llm:request", {}))

    assert told == ["llm:request"]
    assert hooks.list_handlers("llm:pre") == {"llm:pre": ["n"]}
    assert hooks.list_handlers() == {"llm:request": ["n"]}


# --- what they are given


def test_where_nobody_listens_the_data_comes_back_as_given() -> None:
    """Nothing is added and nothing is copied: most events have no listener."""
    hooks = registry()
    hooks.set_default_fields(session_id="S")
    data = {"a": (1, 2)}

    result = emit(hooks, data)

    assert result.data is data
    assert emit(hooks, [1]).data == {}


def test_each_handler_has_a_copy_of_its_own() -> None:
    """What one does to its copy neither the next one sees nor the caller."""
    seen: list[Any] = []

    async def spoil(event: str, data: Any) -> None:
        seen.append(dict(data, n=list(data["n"])))
        data["n"].append("spoiled")
        data["more"] = 1

    data = {"n": [1]}
    result = emit(registry(spoil, spoil), data)

    assert seen == [{"n": [1], "timestamp": STAMP}] * 2
    assert data == {"n": [1]}
    assert result.data == {"n": [1], "timestamp": STAMP}


def test_default_fields_lie_below_and_the_time_above_what_the_caller_gives() -> None:
    """Every event of a session can be told by its fields."""
    hooks = registry(None)
    hooks.set_default_fields(old=1)
    hooks.set_default_fields(session_id="S", a=0)

    assert emit(hooks, {"a": 1, "timestamp": "mine"}).data == {"session_id": "S", "a": 1, "timestamp": STAMP}


def test_changed_data_replaces_everything_for_those_after() -> None:
    """Fields and time too, unless the hook keeps them."""
    seen: list[Any] = []
    hooks = registry({"action": "modify", "data": {"m": 1}}, lambda event, data: seen.append(data))
    hooks.set_default_fields(session_id="S")

    assert emit(hooks, {"a": 1}).data == {"m": 1}
    assert seen == [{"m": 1}]


@pytest.mark.parametrize("data", [None, [1, 2], "text", 5])
def test_data_that_is_no_mapping_is_given_and_not_returned(data: object) -> None:
    """The answer's data is a mapping or nothing."""
    seen: list[Any] = []

    result = emit(registry(lambda event, given: seen.append(given)), data)

    assert seen == [data]
    assert result == HookResult(data={})
    assert emit(registry({"action": "modify", "data": {"m": 1}}), data).data == {"m": 1}


def test_data_without_json_reaches_no_handler() -> None:
    """Half of an event would be judged as if it were the whole."""
    called: list[int] = []

    with pytest.raises(EventDataInvalid):
        emit(registry(lambda event, data: called.append(1)), {"n": float("nan")})

    assert called == []


# --- how they are called


async def coroutine() -> dict[str, Any]:
    """Return a denial."""
    return {"action": "deny", "reason": "later"}


class Listener:
    """An object with state that listens."""

    async def __call__(self, event: str, data: Any) -> HookResult:
        return HookResult(action="deny", reason="object")


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (lambda event, data: {"action": "deny", "reason": "plain"}, "plain"),
        (lambda event, data: coroutine(), "later"),
        (lambda event, data: asyncio.ensure_future(coroutine()), "later"),
        (Listener(), "object"),
        (answering(HookResult(action="deny", reason="model")), "model"),
    ],
)
def test_a_handler_may_be_plain_async_or_an_object(handler: Any, reason: str) -> None:
    """A module is not made to be async for the runtime's sake."""
    assert emit(registry(handler), {}).reason == reason


def test_a_denial_ends_the_round() -> None:
    """Whoever comes after would act on what is not going to happen."""
    called: list[int] = []

    result = emit(registry({"action": "deny", "reason": "no"}, lambda event, data: called.append(1)), {})

    assert (result.reason, called) == ("no", [])


@pytest.mark.parametrize("error", [ValueError("x"), StopAsyncIteration(), asyncio.CancelledError()])
def test_a_handler_that_raises_is_passed_over(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says which one, of which event, with what."""
    hooks = HookRegistry()
    hooks.register("e", raising(error), name="broken")
    hooks.register("e", answering({"action": "deny", "reason": "second"}))

    assert emit(hooks, {}).reason == "second"

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == f"Hook handler error for event 'e' (handler 'broken'): {type(error).__name__}: {error}"


def test_a_plain_handler_that_raises_is_passed_over_too() -> None:
    """It raises when it is called, not when it is awaited."""
    assert emit(registry(lambda event: None), {"a": 1}).data == {"a": 1, "timestamp": STAMP}


def test_an_answer_that_cannot_be_read_denies_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A gate that stammers stays closed, and somebody hears of it; what it said is not in the log."""
    called: list[int] = []

    result = emit(registry({"action": "Deny", "reason": "hunter2"}, lambda event, data: called.append(1)), {})

    assert (result, called) == (INVALID_RESPONSE, [])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("SECURITY: Hook handler returned unparseable result — failing closed (Deny): ")
    assert "hunter2" not in record.message


def test_an_answer_that_breaks_its_reader_denies() -> None:
    """Whatever goes wrong while an answer is read, it was not a yes."""

    class Rude:
        def __str__(self) -> str:
            raise KeyError("no text of mine")

    assert emit(registry({"data": {"x": Rude()}}), {}) == INVALID_RESPONSE


def test_who_comes_and_goes_during_an_emit_counts_from_the_next() -> None:
    """The round that has begun is not changed under the feet of its handlers."""
    hooks = HookRegistry()
    called: list[str] = []

    def first(event: str, data: Any) -> None:
        called.append("first")
        hooks.register("e", lambda event, data: called.append("new"))
        remove()

    hooks.register("e", first)
    remove = hooks.register("e", lambda event, data: called.append("second"))

    emit(hooks, {})
    assert called == ["first", "second"]
    called.clear()
    emit(hooks, {})
    assert called == ["first", "new"]


def test_a_handler_may_emit_and_emits_may_overlap() -> None:
    """Nothing is locked, so that nothing can wait for itself."""
    hooks = HookRegistry()
    hooks.register("inner", answering({"action": "deny", "reason": "inner"}))

    async def outer(event: str, data: Any) -> HookResult:
        return await hooks.emit("inner", {})

    hooks.register("e", outer)

    async def scene() -> list[HookResult]:
        return await asyncio.gather(hooks.emit("e", {}), hooks.emit("e", {}))

    assert [result.reason for result in asyncio.run(scene())] == ["inner", "inner"]


def test_cancelling_an_emit_stops_it() -> None:
    """The session's own end is no error of a handler."""
    called: list[int] = []

    async def scene() -> None:
        entered = asyncio.Event()

        async def wait(event: str, data: Any) -> None:
            entered.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(registry(wait, lambda event, data: called.append(1)).emit("e", {}))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())

    assert called == []


# --- collecting


def test_collecting_takes_the_data_of_every_answer_in_order() -> None:
    """Actions mean nothing: a denial does not stop it."""
    hooks = registry(
        {"action": "deny", "data": {"d": 1}}, None, {"data": {}}, {"reason": "no data"}, HookResult(data={"x": 1})
    )

    assert asyncio.run(hooks.emit_and_collect("e", {})) == [{"d": 1}, {}, {"x": 1}]


def test_collecting_gives_the_data_as_it_is() -> None:
    """Neither fields nor time are added."""
    seen: list[Any] = []
    hooks = registry(lambda event, data: seen.append(data))
    hooks.set_default_fields(session_id="S")

    asyncio.run(hooks.emit_and_collect("e", {"a": 1}))

    assert seen == [{"a": 1}]
    assert asyncio.run(hooks.emit_and_collect("nobody", {"a": 1})) == []


def test_collecting_passes_over_what_is_late_broken_or_unreadable(caplog: pytest.LogCaptureFixture) -> None:
    """Each handler has its own time; a slow one costs the others nothing of theirs."""
    hooks = HookRegistry()
    hooks.register("e", hanging, name="slow")
    hooks.register("e", raising(TimeoutError("its own")), name="broken")
    hooks.register("e", answering(5))
    hooks.register("e", lambda event, data: {"data": {"plain": 1}})
    hooks.register("e", answering({"data": {"x": 1}}))

    assert asyncio.run(hooks.emit_and_collect("e", {}, timeout=0.001)) == [{"plain": 1}, {"x": 1}]

    late, broken, unreadable = caplog.records
    assert (late.levelno, late.message) == (
        logging.WARNING,
        "Hook handler timed out for event 'e' (handler 'slow')",
    )
    assert broken.message == "Hook handler error for event 'e' (handler 'broken'): TimeoutError: its own"
    assert unreadable.message.startswith("SECURITY: ")
