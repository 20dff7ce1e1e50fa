"""Mount points, capabilities, channels, cleanup: what modules of one session share."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.contracts.errors import MountRefused
from orchestrator.contracts.hook_result import HookResult
from orchestrator.kernel.live.coordinator import NAMED, SINGLE, Coordinator
from orchestrator.kernel.live.hooks import HookRegistry
from tests.unit.orchestrator.kernel.live.live_modules import Memory

UNKNOWN = ("agents", "session", "", "Tools")
TOOL = SimpleNamespace(name="search")


def mount(coordinator: Coordinator, *args: Any) -> None:
    """Mount from outside a loop."""
    asyncio.run(coordinator.mount(*args))


def unmount(coordinator: Coordinator, *args: Any) -> None:
    """Unmount from outside a loop."""
    asyncio.run(coordinator.unmount(*args))


def belonging_to(config: Any, **more: Any) -> Coordinator:
    """Return the coordinator of a session with this plan."""
    return Coordinator(SimpleNamespace(session_id="S-1", parent_id="S-0", config=config), **more)


def test_the_mount_points_are_these() -> None:
    """Modules are written against the names."""
    points = Coordinator().mount_points

    assert {name: type(value) for name, value in points.items()} == {
        "orchestrator": type(None),
        "providers": dict,
        "tools": dict,
        "context": type(None),
        "hooks": HookRegistry,
        "module-source-resolver": type(None),
    }


@pytest.mark.parametrize("point", UNKNOWN)
def test_an_unknown_mount_point_is_refused_everywhere(point: str) -> None:
    """A module that mounts itself where nobody looks would seem to be there."""
    coordinator = Coordinator()

    for act in (
        lambda: mount(coordinator, point, TOOL),
        lambda: unmount(coordinator, point),
        lambda: coordinator.get(point),
    ):
        with pytest.raises(MountRefused) as caught:
            act()
        assert str(caught.value) == f"Unknown mount point: {point}"
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("point", SINGLE)
def test_a_single_point_holds_the_last_module_and_ignores_names(point: str) -> None:
    """There is one orchestrator and one context."""
    coordinator = Coordinator()

    mount(coordinator, point, "first", "a name")
    mount(coordinator, point, "second")
    assert coordinator.get(point) == coordinator.get(point, "a name") == "second"
    unmount(coordinator, point, "another name")
    assert coordinator.get(point) is None


@pytest.mark.parametrize("point", NAMED)
def test_a_named_point_holds_modules_by_their_names(point: str) -> None:
    """A given name goes before the module's own; the same name again replaces."""
    coordinator = Coordinator()

    mount(coordinator, point, TOOL)
    mount(coordinator, point, "x", "given")
    mount(coordinator, point, None, "nothing")
    mount(coordinator, point, "e", "")
    mount(coordinator, point, "y", "given")

    assert coordinator.get(point) == {"search": TOOL, "given": "y", "nothing": None, "": "e"}
    assert coordinator.get(point) is coordinator.mount_points[point]
    assert (coordinator.get(point, "given"), coordinator.get(point, ""), coordinator.get(point, "no")) == (
        "y",
        "e",
        None,
    )


@pytest.mark.parametrize("module", [None, object(), {"name": "x"}])
def test_a_named_point_needs_a_name(module: object) -> None:
    """A nameless tool cannot be called."""
    with pytest.raises(MountRefused, match=r"^Name required for tools$"):
        mount(Coordinator(), "tools", module)


@pytest.mark.parametrize("args", [(SimpleNamespace(name=5),), (TOOL, 5)])
def test_a_name_is_a_str(args: tuple[Any, ...]) -> None:
    """A model names tools in text."""
    with pytest.raises(TypeError, match="must be a str, got int"):
        mount(Coordinator(), "tools", *args)


def test_unmounting_needs_a_name_where_several_sit_and_ignores_one_that_is_not_there() -> None:
    """Taking all tools away by mistake would be worse than an error."""
    coordinator = Coordinator()
    mount(coordinator, "tools", TOOL)

    with pytest.raises(MountRefused, match=r"^Name required to unmount from tools$"):
        unmount(coordinator, "tools")
    unmount(coordinator, "tools", "other")
    assert list(coordinator.get("tools")) == ["search"]
    unmount(coordinator, "tools", "search")
    assert coordinator.get("tools") == {}


def test_hooks_are_registered_and_not_mounted() -> None:
    """The registry is one object for the session's whole life."""
    coordinator = Coordinator()

    with pytest.raises(MountRefused, match=r"^Hooks should be registered directly with the HookRegistry$"):
        mount(coordinator, "hooks", TOOL)
    unmount(coordinator, "hooks")
    assert coordinator.get("hooks") is coordinator.get("hooks", "x") is coordinator.hooks


def test_a_capability_is_what_was_lent_last() -> None:
    """Modules find each other by free names."""
    coordinator = Coordinator()

    coordinator.register_capability("session.spawn", 1)
    coordinator.register_capability("session.spawn", 2)

    assert (coordinator.get_capability("session.spawn"), coordinator.get_capability("other")) == (2, None)


def raising(error: BaseException) -> Any:
    """Return a function that raises it."""

    def raise_it() -> None:
        raise error

    return raise_it


def give_coroutine() -> Any:
    """Be a plain function that returns a coroutine."""
    return give_list()


def collect(*callbacks: Any) -> list[Any]:
    """Collect what these contribute."""
    coordinator = Coordinator()
    for number, callback in enumerate(callbacks):
        coordinator.register_contributor("channel", f"n{number}", callback)
    return asyncio.run(coordinator.collect_contributions("channel"))


async def give_list() -> list[int]:
    """Contribute without haste."""
    return [1]


def test_contributions_come_in_order_from_sync_and_async_contributors() -> None:
    """None is no contribution; what is only empty is one."""
    given = collect(lambda: 0, give_list, give_coroutine, lambda: None, list, lambda: False)

    assert given == [0, [1], [1], [], False]


def test_a_contributor_that_fails_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """One broken module must not take the others' contributions away."""
    assert collect(lambda: 1, raising(RuntimeError("broken")), 5, lambda: 2) == [1, 2]

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "'n1'" in caplog.text
    assert "broken" in caplog.text


def test_a_cancellation_ends_the_collection_with_what_there_is(caplog: pytest.LogCaptureFixture) -> None:
    """Who collects while being stopped uses what is there and asks no more."""
    assert collect(lambda: 1, raising(asyncio.CancelledError()), lambda: 2) == [1]

    assert "cancelled at contributor 'n1'" in caplog.text


def test_a_collector_that_is_cancelled_is_cancelled() -> None:
    """Swallowing it would break the time limit that somebody put around the collection."""

    async def run() -> None:
        inside = asyncio.Event()

        async def hang() -> None:
            inside.set()
            await asyncio.Event().wait()

        coordinator = Coordinator()
        coordinator.register_contributor("channel", "n", hang)
        collecting = asyncio.create_task(coordinator.collect_contributions("channel"))
        await inside.wait()
        collecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await collecting

    asyncio.run(run())


def test_what_ends_the_process_ends_a_collection() -> None:
    """A contributor's KeyboardInterrupt is the user's."""
    with pytest.raises(KeyboardInterrupt):
        collect(raising(KeyboardInterrupt()))


def test_an_unknown_channel_has_no_contributions() -> None:
    """Channels need no declaration."""
    coordinator = Coordinator()

    assert asyncio.run(coordinator.collect_contributions("none")) == []
    assert coordinator.channels == {}


class AsyncCleaner:
    """An object whose call is async."""

    def __init__(self, ran: list[str]) -> None:
        self.ran = ran

    async def __call__(self) -> None:
        self.ran.append("object")


def clean(*functions: Any) -> Coordinator:
    """Return a coordinator with these cleanup functions."""
    coordinator = Coordinator()
    for function in functions:
        coordinator.register_cleanup(function)
    return coordinator


def test_cleanup_runs_the_last_first_and_each_time_again() -> None:
    """What was built on something goes before it."""
    ran: list[str] = []

    async def run_async() -> None:
        ran.append("async")

    coordinator = clean(lambda: ran.append("first"), None, 5, run_async, AsyncCleaner(ran))
    asyncio.run(coordinator.cleanup())
    asyncio.run(coordinator.cleanup())

    assert ran == ["object", "async", "first"] * 2


@pytest.mark.parametrize("fatal", [KeyboardInterrupt("k"), SystemExit(3), asyncio.CancelledError("c")], ids=repr)
def test_the_first_fatal_is_raised_again_when_all_have_run(
    fatal: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A cleanup that is skipped leaves a connection or a child process behind."""
    ran: list[str] = []
    functions = (lambda: ran.append("last"), raising(GeneratorError()), raising(fatal), raising(ValueError("v")))

    async def run() -> BaseException:
        with pytest.raises(type(fatal)) as caught:
            await clean(*functions).cleanup()
        return caught.value

    assert asyncio.run(run()) is fatal
    assert ran == ["last"]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert messages[0] == "Error during cleanup: ValueError: v"
    assert len(messages) == 3


class GeneratorError(BaseException):
    """A fatal of nobody's: raised after the first one, and only logged."""


def test_errors_in_cleanup_are_logged_and_no_more() -> None:
    """Cleaning up is what is done when things went wrong already."""
    asyncio.run(clean(raising(OSError("gone"))).cleanup())


@pytest.mark.parametrize(
    ("config", "size", "budget"),
    [
        ({}, None, None),
        ({"session": None}, None, None),
        ({"session": {}}, None, None),
        ({"session": {"injection_size_limit": 0, "injection_budget_per_turn": 7}}, 0, 7),
        ({"session": {"injection_size_limit": "10"}}, "10", None),
    ],
)
def test_limits_are_what_the_plan_says(config: dict[str, Any], size: Any, budget: Any) -> None:
    """Without a word there is no limit; what is no number is refused where it is used."""
    coordinator = belonging_to(config)

    assert (coordinator.injection_size_limit, coordinator.injection_budget_per_turn) == (size, budget)


def test_limits_are_read_live() -> None:
    """An operator may tighten a limit of a running session."""
    config: dict[str, Any] = {"session": {}}
    coordinator = belonging_to(config)

    config["session"]["injection_size_limit"] = 3

    assert coordinator.injection_size_limit == 3
    assert coordinator.config is config


def test_a_turn_begins_with_nothing_injected_and_stays_cancelled() -> None:
    """Only who asked to stop may take it back."""
    coordinator = Coordinator()
    coordinator.current_turn_injections = 5

    asyncio.run(coordinator.request_cancel())
    coordinator.reset_turn()

    assert coordinator.current_turn_injections == 0
    assert coordinator.cancellation.is_graceful


def test_the_counter_is_an_int() -> None:
    """A text would fail where it is added to, far from who set it."""
    with pytest.raises(TypeError, match="must be an int, got str"):
        Coordinator().current_turn_injections = "5"  # type: ignore[assignment]


@pytest.mark.parametrize(("immediate", "state"), [(False, "graceful"), (True, "immediate")])
def test_a_request_to_stop_changes_the_token_and_nothing_else(immediate: bool, state: str) -> None:
    """Hosts ask; the orchestrator says what came of it."""
    coordinator, heard = Coordinator(), []
    coordinator.hooks.register("cancel:requested", lambda event, data: heard.append(event))
    coordinator.cancellation.on_cancel(lambda: heard.append("callback"))

    asyncio.run(coordinator.request_cancel(immediate))

    assert (coordinator.cancellation.state, heard) == (state, [])


def test_to_dict_names_what_is_mounted() -> None:
    """It is for people: nothing can be restored from it."""
    coordinator = Coordinator(approval_system=SimpleNamespace(), display_system=SimpleNamespace())
    mount(coordinator, "tools", TOOL)
    mount(coordinator, "context", Memory())
    coordinator.register_capability("c", 1)

    assert coordinator.to_dict() == {
        "tools": ["search"],
        "providers": [],
        "has_orchestrator": False,
        "has_context": True,
        "capabilities": ["c"],
        "has_approval_provider": False,
        "has_display_service": False,
    }


def test_to_dict_tells_systems_that_were_set_later() -> None:
    """A host that attaches a display for a while has had one; approvals are only there while they are."""
    coordinator = Coordinator()

    def told() -> tuple[bool, bool]:
        told = coordinator.to_dict()
        return told["has_approval_provider"], told["has_display_service"]

    coordinator.approval_system, coordinator.display_system = SimpleNamespace(), SimpleNamespace()
    assert told() == (True, True)
    coordinator.approval_system = coordinator.display_system = None
    assert told() == (False, True)
    assert coordinator.display_system is None


@pytest.mark.parametrize(
    "name",
    ["session_id", "parent_id", "config", "session", "hooks", "cancellation", "channels", "injection_size_limit"],
)
def test_what_identifies_a_session_cannot_be_set(name: str) -> None:
    """A module that renamed the session would mix two sessions' events."""
    with pytest.raises(AttributeError):
        setattr(Coordinator(), name, "x")


def test_modules_may_leave_what_they_like() -> None:
    """State and attributes of their own are free."""
    coordinator = Coordinator()

    coordinator.session_state = {"z": 1}
    coordinator.anything = coordinator.loader = 5  # type: ignore[attr-defined]

    assert (coordinator.session_state, coordinator.anything, coordinator.loader) == ({"z": 1}, 5, 5)  # type: ignore[attr-defined]
    assert Coordinator().session_state == {}


def test_a_coordinator_stands_alone_or_takes_its_session_s_names() -> None:
    """What is no session is refused before anything is mounted."""
    alone, belonging = Coordinator(), belonging_to({})

    assert (alone.session_id, alone.parent_id, alone.config) == ("", None, {})
    assert (belonging.session_id, belonging.parent_id, belonging.session.session_id) == ("S-1", "S-0", "S-1")
    with pytest.raises(AttributeError, match="session_id"):
        Coordinator(object())


def test_a_hook_s_answer_is_processed_over_the_coordinator_s_own_context_and_limits() -> None:
    """The limits, the counter and the context of one session meet here."""
    coordinator = belonging_to({"session": {"injection_size_limit": 9}})
    memory = Memory()
    mount(coordinator, "context", memory)
    injected = HookResult(action="inject_context", context_injection="12345678")

    asyncio.run(coordinator.process_hook_result(injected, "tool:pre", "audit"))
    assert coordinator.current_turn_injections == 2
    assert memory.messages[0]["metadata"]["hook_name"] == "audit"

    too_long = injected.model_copy(update={"context_injection": "1234567890"})
    with pytest.raises(ValueError, match=r"^Context injection exceeds 9 characters$"):
        asyncio.run(coordinator.process_hook_result(too_long, "tool:pre"))
