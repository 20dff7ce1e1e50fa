"""One session in one process, from its plan to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.errors import MountPlanInvalid, SessionNotReady
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.provider_errors import RateLimitError
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.module_sources import FolderResolver
from orchestrator.kernel.live.session import Session
from tests.unit.orchestrator.kernel.live.live_modules import Echo, Heard, Shelf, listen, mounts, plan, shelf

START = datetime(2026, 1, 1, tzinfo=UTC)
NOT_INITIALIZED = r"^Session not initialized\. Call initialize\(\) first\.$"


class Clock:
    """A clock that moves by a second with each look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return START + timedelta(seconds=self.looks - 1)


def make(act: Callable[[Coordinator], Any] | None = None, **more: Any) -> Session:
    """Return a session over the small modules; `act` is what its orchestrator does."""
    return Session(more.pop("config", None) or plan(), more.pop("loader", None) or shelf(act), "S-1", **more)


def live(session: Session, *steps: Callable[[Session], Awaitable[Any]]) -> Heard:
    """Take a session through these steps, and return what its hooks heard."""
    heard = listen(session)

    async def run() -> None:
        for step in steps:
            await step(session)

    asyncio.run(run())
    return heard


def execute(session: Session) -> Awaitable[str]:
    """Run a turn."""
    return session.execute("it")


INITIALIZE, CLEANUP = Session.initialize, Session.cleanup


def fails(step: Callable[[Session], Awaitable[Any]], error: type[BaseException], match: str | None = None) -> Any:
    """Return a step that must fail."""

    async def run(session: Session) -> None:
        with pytest.raises(error, match=match):
            await step(session)

    return run


def test_a_session_answers_a_prompt() -> None:
    """The orchestrator gets what is mounted, by six names."""
    echo = Echo()
    session = make(loader=shelf(loop=mounts("orchestrator", echo)))
    coordinator = session.coordinator

    async def run() -> str:
        async with session as entered:
            return await entered.execute("it")

    assert asyncio.run(run()) == "answer to it"
    assert echo.given == [
        {
            "context": coordinator.get("context"),
            "providers": coordinator.get("providers"),
            "tools": {},
            "hooks": coordinator.hooks,
            "coordinator": coordinator,
        }
    ]


def test_a_session_says_start_once_and_end_once() -> None:
    """Hooks do their day's work at the start: on every prompt it would cost seconds each time."""
    heard = live(make(), INITIALIZE, INITIALIZE, execute, execute, CLEANUP, CLEANUP)

    assert heard.events == [
        ("session:start", {"session_id": "S-1", "parent_id": None}),
        ("session:end", {"session_id": "S-1", "parent_id": None, "status": "completed"}),
    ]


def test_a_session_that_lives_in_several_objects_says_each_thing_once() -> None:
    """The process that goes on with it must not have its hooks begin and end it again."""
    announced: set[str] = set()

    first = live(make(announced=announced), INITIALIZE, execute)
    second = live(make(announced=announced), INITIALIZE, execute, CLEANUP)
    third = live(make(announced=announced), INITIALIZE, execute, CLEANUP)

    assert (first.names, second.names, third.names) == (["session:start"], ["session:end"], [])


def test_a_resumed_session_says_resume() -> None:
    """A hook that restores something needs to know."""
    session = make(is_resumed=True)

    assert live(session, INITIALIZE, execute, execute).names == ["session:resume"]
    assert session.is_resumed


def test_metadata_and_plan_are_told_where_the_plan_says_so() -> None:
    """The plan on every turn, because it may change; its secrets never."""
    config = plan(session={"metadata": {"a": 1}, "raw": True}, secret="s")

    heard = live(make(config=config), INITIALIZE, execute, execute)

    assert heard.names == ["session:start", "session:config", "session:config"]
    assert heard.said("session:start")[0]["metadata"] == {"a": 1}
    assert heard.said("session:config")[0]["raw"] == {**config, "secret": "[REDACTED]"}


def test_a_child_says_whose_it_is_when_it_is_ready() -> None:
    """Before its start, so that a hook can tell the two apart from the first event on."""
    heard = live(make(parent_id="S-0"), INITIALIZE, execute)

    assert heard.events[0] == ("session:fork", {"parent": "S-0", "session_id": "S-1", "parent_id": "S-0"})
    assert heard.names[1] == "session:start"


def test_a_session_that_is_not_initialised_refuses_to_run_and_says_no_end() -> None:
    """What never began has no end."""
    session = make()

    heard = live(session, fails(execute, SessionNotReady, NOT_INITIALIZED), CLEANUP)

    assert heard.events == []
    assert not session.initialized


def test_a_session_that_is_cleaned_up_refuses_to_run() -> None:
    """Its modules have closed what they need."""
    live(make(), INITIALIZE, CLEANUP, fails(execute, RuntimeError, NOT_INITIALIZED))


def test_one_turn_at_a_time() -> None:
    """Two turns would write their messages into one context, one between the other's."""

    async def run() -> list[Any]:
        inside = asyncio.Event()
        release = asyncio.Event()

        async def wait() -> str:
            inside.set()
            await release.wait()
            return "done"

        session = make(lambda coordinator: wait())
        await session.initialize()
        first = asyncio.create_task(session.execute("one"))
        await inside.wait()
        with pytest.raises(SessionNotReady, match="a turn is running"):
            await session.execute("two")
        release.set()
        return [await first, await session.execute("three")]

    assert asyncio.run(run()) == ["done", "done"]


def raises(error: BaseException) -> Callable[[Coordinator], Any]:
    """Return what an orchestrator does that raises."""

    def act(coordinator: Coordinator) -> None:
        raise error

    return act


def test_a_run_keeps_the_type_of_its_error() -> None:
    """Whoever decides about trying again reads it from the error."""
    error = RateLimitError("slow down", retry_after=7.0)
    session = make(raises(error))
    caught: list[BaseException] = []

    async def run(session: Session) -> None:
        with pytest.raises(RateLimitError) as info:
            await session.execute("it")
        caught.append(info.value)

    live(session, INITIALIZE, run)

    assert caught == [error]
    assert session.status.status == "failed"
    assert session.status.last_error is not None
    kept = FailureRecord.model_validate(session.status.last_error)
    assert (kept.error, kept.message, kept.retryable, kept.retry_after) == ("RateLimitError", "slow down", True, 7.0)


def stops(answer: Any, *, immediate: bool = False) -> Callable[[Coordinator], Any]:
    """Return what an orchestrator does that is asked to stop, and then answers or raises."""

    def act(coordinator: Coordinator) -> Any:
        token = coordinator.cancellation
        token.request_immediate() if immediate else token.request_graceful()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return act


def test_a_run_that_was_asked_to_stop_is_cancelled_and_says_so() -> None:
    """Also where it came to a good end: nobody may take its answer for the whole one."""
    session = make(stops("half", immediate=True))

    heard = live(session, INITIALIZE, execute, CLEANUP)

    assert heard.said("cancel:completed") == [{"session_id": "S-1", "parent_id": None, "was_immediate": True}]
    assert heard.said("session:end")[0]["status"] == session.status.status == "cancelled"


def test_a_run_that_raises_while_stopping_is_cancelled_and_tells_the_error() -> None:
    """Stopping breaks things; that is no failure of theirs."""
    session = make(stops(OSError("torn")))

    heard = live(session, INITIALIZE, fails(execute, OSError, "torn"))

    assert heard.said("cancel:completed")[0]["error"] == "OSError: torn"
    assert not heard.said("cancel:completed")[0]["was_immediate"]
    assert session.status.status == "cancelled"
    assert session.status.last_error == {"message": "torn", "error": "OSError", "lineage": ["OSError"]}


def test_a_run_whose_task_is_cancelled_is_cancelled() -> None:
    """It has not failed, and it does not go on."""
    session = make(raises(asyncio.CancelledError()))

    heard = live(session, INITIALIZE, fails(execute, asyncio.CancelledError))

    assert session.status.status == "cancelled"
    assert heard.names == ["session:start"]


def test_a_new_run_forgets_the_last_one_s_failure() -> None:
    """The status is that of the last run."""
    answers: list[Any] = [OSError("first"), "second"]

    def act(coordinator: Coordinator) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    session = make(act)
    live(session, INITIALIZE, fails(execute, OSError), execute)

    assert (session.status.status, session.status.last_error) == ("completed", None)


@pytest.mark.parametrize("answer", [None, 5, b"bytes", ["a"]])
def test_an_answer_is_a_str(answer: Any) -> None:
    """Callers print it."""
    session = make(lambda coordinator: answer)

    live(session, INITIALIZE, fails(execute, TypeError, "its answer must be a str"))

    assert session.status.status == "failed"


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("orchestrator", "No orchestrator module mounted"),
        ("context", "No context manager mounted"),
        ("providers", "No providers mounted"),
    ],
)
def test_a_turn_needs_its_parts(point: str, message: str) -> None:
    """The message names what is missing; the module's own error would name an attribute."""
    session = make()

    async def take_out(session: Session) -> None:
        if point == "providers":
            session.coordinator.get(point).clear()
        else:
            await session.coordinator.unmount(point)

    live(session, INITIALIZE, take_out, fails(execute, RuntimeError, f"^{message}$"))

    assert session.status.status == "failed"


def test_each_turn_begins_with_its_whole_injection_budget() -> None:
    """What one turn's hooks have used must not starve the next one's."""
    seen: list[int] = []

    def act(coordinator: Coordinator) -> str:
        seen.append(coordinator.current_turn_injections)
        coordinator.current_turn_injections += 5
        return ""

    live(make(act), INITIALIZE, execute, execute)

    assert seen == [0, 0]


def test_the_status_tells_when() -> None:
    """From the clock that was given: times can be tested and replayed."""
    session = make(clock=Clock())

    live(session, INITIALIZE, execute, CLEANUP)

    assert session.status.session_id == "S-1"
    assert session.status.started_at == START
    assert session.status.ended_at is not None
    assert session.status.last_activity is not None
    assert START < session.status.ended_at < session.status.last_activity


def test_a_session_has_an_id_of_its_own() -> None:
    """An empty id would make all sessions one."""
    sessions = [Session(plan()), Session(plan()), Session(plan(), session_id="")]

    assert len({session.session_id for session in sessions}) == 3
    assert {len(session.session_id) for session in sessions} == {36}
    assert Session(plan(), new_id=lambda: "minted").session_id == "minted"


def test_a_session_keeps_its_plan() -> None:
    """What changes in it while it lives is seen by all who look."""
    config = plan()
    session = Session(config)

    assert session.config is session.coordinator.config is config
    assert session.coordinator.session is session


def test_a_session_checks_its_plan_before_anything_else() -> None:
    """Not when the first prompt comes."""
    with pytest.raises(MountPlanInvalid, match=r"session\.orchestrator"):
        Session({"session": {}})


@pytest.mark.parametrize(("missing", "word"), [("loop", "orchestrator"), ("context", "context manager")])
def test_a_session_needs_an_orchestrator_and_a_context(missing: str, word: str) -> None:
    """The module's own error is the cause, with its type."""
    loader = shelf()
    del loader.mounts[missing]
    session = make(loader=loader)
    message = f"^Cannot initialize without {word}: module '{missing}': not on the shelf$"

    live(session, fails(INITIALIZE, RuntimeError, message), fails(execute, SessionNotReady, NOT_INITIALIZED))

    assert not session.initialized


def test_a_session_that_cannot_be_entered_is_cleaned_up() -> None:
    """`async with` has no exit for what it did not enter."""
    ran: list[str] = []
    loader = shelf(loop=mounts("orchestrator", Echo(), cleanup=lambda: ran.append("loop")))
    del loader.mounts["context"]

    async def enter(session: Session) -> None:
        async with session:
            pytest.fail("it was entered")

    heard = live(make(loader=loader), fails(enter, SessionNotReady))

    assert (ran, loader.cleanups, heard.names) == (["loop"], 1, [])


def test_two_initialisations_at_once_are_one_too_many() -> None:
    """Every module would be mounted twice."""

    async def run() -> None:
        inside, release = asyncio.Event(), asyncio.Event()

        async def slow(coordinator: Coordinator, config: dict[str, Any]) -> None:
            inside.set()
            await release.wait()
            await coordinator.mount("orchestrator", Echo())

        session = make(loader=shelf(loop=slow))
        first = asyncio.create_task(session.initialize())
        await inside.wait()
        with pytest.raises(SessionNotReady, match="being initialised"):
            await session.initialize()
        release.set()
        await first
        assert session.initialized

    asyncio.run(run())


def test_the_end_is_said_before_the_modules_go() -> None:
    """A hook module that writes a log must hear of the end while its file is open."""
    ran: list[str] = []
    session = make(loader=shelf(loop=mounts("orchestrator", Echo(), cleanup=lambda: ran.append("loop"))))
    session.coordinator.hooks.register("session:end", lambda event, data: ran.append(event))

    live(session, INITIALIZE, CLEANUP)

    assert ran == ["session:end", "loop"]


@pytest.mark.parametrize("fatal", [KeyboardInterrupt("k"), asyncio.CancelledError("c")], ids=repr)
def test_a_cleanup_does_all_of_its_parts_and_then_raises_the_fatal(fatal: BaseException) -> None:
    """The loader is let go even when a module's cleanup is interrupted."""

    def interrupt() -> None:
        raise fatal

    loader = shelf(loop=mounts("orchestrator", Echo(), cleanup=interrupt))
    session = make(loader=loader)

    live(session, INITIALIZE, fails(CLEANUP, type(fatal)))

    assert loader.cleanups == 1
    assert not session.initialized


def test_a_loader_that_fails_to_clean_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It is the last part, and there is nobody left to act on it."""

    class Broken(Shelf):
        def cleanup(self) -> None:
            raise OSError("stuck")

    live(make(loader=Broken(**shelf().mounts)), INITIALIZE, CLEANUP)

    assert "Error during cleanup: OSError: stuck" in caplog.messages
    assert caplog.records[-1].levelno == logging.ERROR


def test_a_fork_is_a_child_that_knows_its_parent() -> None:
    """Its id shows where it came from, and its modules come from where its parent's did."""
    parent = make(approval_system=None)
    resolver = FolderResolver([])
    asyncio.run(parent.coordinator.mount("module-source-resolver", resolver))

    child = parent.fork(suffix="review")

    assert (child.session_id, child.parent_id, parent.children) == ("S-1-review", "S-1", (child,))
    assert child.config == parent.config
    assert child.config is not parent.config
    assert child.config["session"] is not parent.config["session"]
    assert child.coordinator.get("module-source-resolver") is resolver
    assert child.coordinator.loader is parent.coordinator.loader
    assert parent.fork(session_id="S-9").session_id == "S-9"
    assert make(new_id=lambda: "0123456789").fork().session_id == "S-1-01234567"


def test_a_fork_may_have_a_plan_of_its_own() -> None:
    """Plans are not merged: what a child may do is read in one place."""
    config = plan(agents={"only": "here"})

    assert make().fork(config).config is config


def test_a_request_to_stop_reaches_the_children_until_they_are_done() -> None:
    """And never the parent from below."""
    parent = make()
    first, second = parent.fork(), parent.fork()
    asyncio.run(first.cleanup())

    second.coordinator.cancellation.request_graceful()
    assert not parent.coordinator.cancellation.is_cancelled
    parent.coordinator.cancellation.request_immediate()

    assert second.coordinator.cancellation.is_immediate
    assert not first.coordinator.cancellation.is_cancelled
    assert parent.children == (second,)


def test_a_fork_runs_and_leaves_its_parent_s_loader_alone() -> None:
    """The parent goes on after it."""
    parent = make()
    child = parent.fork(suffix="c")

    heard = live(child, INITIALIZE, execute, CLEANUP)

    assert heard.names == ["session:fork", "session:start", "session:end"]
    assert heard.said("session:fork")[0] == {"parent": "S-1", "session_id": "S-1-c", "parent_id": "S-1"}
    assert parent.coordinator.loader.cleanups == 0


def test_a_cleanup_may_take_the_children_along() -> None:
    """The last one first, each with its own end; without being asked it takes none."""
    parent = make()
    forks = [parent.fork(suffix="a"), parent.fork(suffix="b")]
    ends: list[str] = []
    for session in (parent, *forks):
        session.coordinator.hooks.register("session:end", lambda event, data: ends.append(data["session_id"]))

    async def run() -> None:
        for session in (parent, *forks):
            await session.initialize()
        await parent.cleanup(cascade_children=True)

    asyncio.run(run())

    assert ends == ["S-1-b", "S-1-a", "S-1"]
    assert parent.children == ()
    assert parent.coordinator.loader.cleanups == 1


def test_what_a_module_loaded_in_vain_is_kept_with_its_reason() -> None:
    """A session that goes on without a tool must be able to say so."""
    session = make(config=plan(tools=[{"module": "tool-none"}]))

    live(session, INITIALIZE)

    assert [(failure.module_id, failure.reason_code) for failure in session.load_failures] == [("tool-none", "missing")]


@given(st.lists(st.sampled_from(["initialize", "execute", "cleanup"]), max_size=8))
def test_any_order_of_steps_says_start_and_end_at_most_once_and_in_order(steps: list[str]) -> None:
    """Hosts that retry call them in every order."""
    session = make()
    heard = listen(session)

    async def run() -> None:
        for step in steps:
            if step == "execute" and not session.initialized:
                with pytest.raises(SessionNotReady):
                    await session.execute("it")
            elif step == "execute":
                await session.execute("it")
            else:
                await getattr(session, step)()

    asyncio.run(run())

    assert heard.names.count("session:start") <= 1
    assert heard.names.count("session:end") <= 1
    assert heard.names in (
        [],
        ["session:start"],
        ["session:end"],
        ["session:start", "session:end"],
        ["session:end", "session:start"],
    )
    last = [step for step in steps if step in {"initialize", "cleanup"}][-1:]
    assert session.initialized is (last == ["initialize"])
