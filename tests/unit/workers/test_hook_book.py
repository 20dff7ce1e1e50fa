"""Calling an app's hooks: in order, each with data of its own and within its time, and what stands for an answer."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.hooks import HookSpec
from workers.hooks import HookBook, Told, build_book

Handler = Callable[[str, dict[str, Any]], Any]
DEFAULTS = {"session_id": "S-1", "parent_id": None}


def a_book(*hooks: tuple[Handler, dict[str, Any]]) -> HookBook:
    """Return a book of these handlers, all for one event unless they say otherwise."""
    functions = {f"m:f{number}": handler for number, (handler, _) in enumerate(hooks)}
    specs = tuple(
        HookSpec.model_validate({"call": call, "event": "tool:pre", **fields})
        for call, (_, fields) in zip(functions, hooks, strict=True)
    )
    spec = AppSpec.model_validate(
        {"name": "a", "entry_skill": "s", "skills": {"s": {"kind": "timer", "name": "s", "seconds": 1}}}
    ).model_copy(update={"hooks": specs})
    book = build_book(spec, functions.__getitem__)
    assert book is not None
    return book


def emit(*hooks: tuple[Handler, dict[str, Any]], data: dict[str, Any] | None = None, event: str = "tool:pre") -> Told:
    """Tell the event."""
    return asyncio.run(a_book(*hooks).emit(event, {"a": 1} if data is None else data, DEFAULTS))


def answering(answer: object, seen: list[Any] | None = None) -> Handler:
    """Return a handler that keeps what it gets, spoils it, and answers."""

    async def handler(event: str, data: dict[str, Any]) -> object:
        if seen is not None:
            seen.append((event, dict(data)))
        data.clear()
        return answer

    return handler


def test_an_app_without_hooks_has_no_book() -> None:
    """Whoever declares nothing pays nothing."""
    spec = AppSpec.model_validate(
        {"name": "a", "entry_skill": "s", "skills": {"s": {"kind": "timer", "name": "s", "seconds": 1}}}
    )

    assert build_book(spec, lambda _: print) is None


def test_lower_priorities_go_first_and_equal_ones_as_declared() -> None:
    """The order in which a policy is read is the order in which it acts."""
    order: list[str] = []

    def named(name: str) -> Handler:
        return lambda event, data: order.append(name)

    emit((named("c"), {"priority": 5}), (named("b"), {}), (named("b2"), {}), (named("a"), {"priority": -5}))

    assert order == ["a", "b", "b2", "c"]


def test_each_gets_a_copy_with_the_sessions_fields_and_the_time() -> None:
    """What one does to its data no other sees; a change is what the next one gets."""
    seen: list[Any] = []
    changed = {"action": "modify", "data": {"a": 2}}

    told = emit((answering(None, seen), {}), (answering(changed, seen), {}), (answering(None, seen), {}))

    assert [sorted(data) for _, data in seen] == [["a", "parent_id", "session_id", "timestamp"]] * 2 + [["a"]]
    assert (told.data, told.changed_by) == ({"a": 2}, ("f1",))


def test_a_denial_ends_it() -> None:
    """What comes after is not even told."""
    seen: list[Any] = []

    told = emit((answering({"action": "deny", "reason": "no"}), {}), (answering(None, seen), {}))

    assert told.denied is not None and told.denied.result is not None
    assert (told.denied.listener.label, told.denied.result.reason, seen) == ("f0", "no", [])


def test_the_first_question_is_kept_beside_what_others_change_and_add() -> None:
    """Neither a change nor a text is lost because somebody asks."""
    told = emit(
        (answering({"action": "ask_user", "approval_prompt": "one"}), {}),
        (answering({"action": "modify", "data": {"a": 3}}), {}),
        (answering({"action": "inject_context", "context_injection": "x"}), {}),
        (answering({"action": "ask_user", "approval_prompt": "two"}), {}),
    )

    assert told.asked is not None and told.asked.result is not None
    assert (told.asked.result.approval_prompt, told.data, len(told.answers)) == ("one", {"a": 3}, 4)


def raising(event: str, data: dict[str, Any]) -> None:
    """Fail."""
    raise ValueError("broken")


async def hanging(event: str, data: dict[str, Any]) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def giving_up(event: str, data: dict[str, Any]) -> None:
    """Raise what only the runtime may."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize(
    ("handler", "what"),
    [(raising, "ValueError: broken"), (hanging, "no answer in 0.05 s"), (giving_up, "CancelledError: ")],
)
def test_a_hook_that_fails_denies_only_where_it_is_critical(handler: Handler, what: str, *, critical: bool) -> None:
    """The others go on without it, and its failure is told."""
    seen: list[Any] = []

    told = emit((handler, {"critical": critical, "timeout_seconds": 0.05}), (answering(None, seen), {}))

    assert (told.answers[0].failure, len(seen)) == (what, 0 if critical else 1)
    if critical:
        assert told.denied is not None and told.denied.result is not None
        assert told.denied.result.reason == f"critical hook f0 failed: {what}"
    else:
        assert told.denied is None


@pytest.mark.parametrize("answer", ["allow", 1, True, [], {"action": "Deny"}, {"ephemeral": 1}, {"data": float("nan")}])
def test_an_answer_that_cannot_be_read_denies(answer: object) -> None:
    """Whoever gave it, critical or not."""
    told = emit((answering(answer), {}))

    assert told.denied is not None and told.denied.result is not None
    assert told.denied.result.reason == "Hook handler returned invalid response"


@pytest.mark.parametrize("answer", [None, {}])
def test_who_only_watches_leaves_nothing(answer: object) -> None:
    """Nothing for the journal, nothing for the step."""
    told = emit((answering(answer), {}))

    assert (told.denied, told.asked, told.data) == (None, None, None)


@pytest.mark.parametrize("critical", [False, True])
def test_data_that_is_no_json_denies_where_a_hook_is_critical(*, critical: bool) -> None:
    """It has seen nothing, so it can have allowed nothing."""
    told = emit((answering(None), {"critical": critical}), data={"a": float("inf")})

    assert (told.denied is not None) is critical
    assert "not JSON" in told.answers[0].failure


def test_a_plain_function_runs_beside_the_loop() -> None:
    """It may block: other sessions of this worker must not feel it."""
    threads: list[int] = []

    emit((lambda event, data: threads.append(threading.get_ident()), {}))

    assert threads
    assert threads[0] != threading.get_ident()


def test_a_plain_function_may_give_something_to_await() -> None:
    """Both kinds of handlers exist, and both are called the same way."""
    deny = answering({"action": "deny", "reason": "later"})

    def later(event: str, data: dict[str, Any]) -> object:
        return deny(event, data)

    told = emit((later, {}))

    assert told.denied is not None


def test_an_object_with_an_async_call_is_a_handler() -> None:
    """A policy may have a state of its own."""

    class Policy:
        async def __call__(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
            return {"action": "deny", "reason": event}

    told = emit((Policy(), {}))

    assert told.denied is not None and told.denied.result is not None
    assert told.denied.result.reason == "tool:pre"


def test_older_names_lead_to_the_names_that_are_sent() -> None:
    """A hook for `turn:start` hears `execution:start`."""
    book = a_book((answering(None), {"event": "turn:start"}))

    assert book.hears("execution:start")
    assert not book.hears("turn:start", "tool:pre")


def test_a_step_that_is_stopped_stops_its_hooks() -> None:
    """A cancelled step must not be held by a hook that waits for something."""

    async def scene() -> None:
        task = asyncio.create_task(a_book((hanging, {"timeout_seconds": 60})).emit("tool:pre", {}, DEFAULTS))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
