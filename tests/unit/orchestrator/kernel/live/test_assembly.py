"""Mounting what a plan names: order, instances, failures, and telling who wants to know."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.errors import MountPlanInvalid, SessionNotReady
from orchestrator.contracts.mount_plan import LoadFailure
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.session import Session
from tests.unit.orchestrator.kernel.live.live_modules import (
    Echo,
    Heard,
    Memory,
    Model,
    Shelf,
    listen,
    mounts,
    mounts_model,
    plan,
    shelf,
)


def initialize(loader: Shelf, **config: Any) -> tuple[Session, Heard]:
    """Initialise a session over a shelf; return it and what its hooks heard."""
    session = Session(plan(**config), loader, "S-1")
    heard = listen(session)
    asyncio.run(session.initialize())
    return session, heard


def provider(instance: str | None = None, **config: Any) -> dict[str, Any]:
    """Return an entry of the module that mounts itself as `a`."""
    return {"module": "provider-a", "config": config, **({"instance_id": instance} if instance else {})}


def configs(session: Session) -> dict[str, Any]:
    """Return the providers' configs by name."""
    return {name: model.config for name, model in session.coordinator.get("providers").items()}


def test_modules_are_mounted_in_the_plan_s_order() -> None:
    """The orchestrator first, hooks last; within a section as listed."""
    loader = shelf(tool_b=mounts("tools", Memory(), "b"), tool_c=mounts("tools", Memory(), "c"))

    initialize(
        loader,
        hooks=[{"module": "hooks-none"}],
        tools=[{"module": "tool-c", "source": "here"}, {"module": "tool-b", "config": {"x": 1}}],
    )

    assert loader.asked == [
        ("loop", {}, None),
        ("context", {}, None),
        ("provider-a", {}, None),
        ("tool-c", {}, "here"),
        ("tool-b", {"x": 1}, None),
        ("hooks-none", {}, None),
    ]


def test_a_mount_s_cleanup_function_is_kept() -> None:
    """What cannot be called is none."""
    ran: list[str] = []
    loader = shelf(
        tool_b=mounts("tools", Memory(), "b", cleanup=lambda: ran.append("b")),
        tool_c=mounts("tools", Memory(), "c", cleanup="no function"),
    )
    session, _ = initialize(loader, tools=[{"module": "tool-b"}, {"module": "tool-c"}])

    asyncio.run(session.cleanup())

    assert ran == ["b"]


def test_one_module_may_be_several_providers() -> None:
    """Each further one under its instance id; the one without keeps the module's own name."""
    entries = [provider(n=1), provider("second", n=2), provider("third", n=3)]

    session, _ = initialize(shelf(), providers=entries)

    assert configs(session) == {"a": {"n": 1}, "second": {"n": 2}, "third": {"n": 3}}


@pytest.mark.parametrize(("instance", "names"), [("second", ["second"]), ("a", ["a"])])
def test_a_lone_provider_with_an_instance_id_has_only_that_name(instance: str, names: list[str]) -> None:
    """Its module's own name stays free."""
    session, _ = initialize(shelf(), providers=[provider(instance)])

    assert list(configs(session)) == names


@given(st.permutations([None, "x", "y", "z"]))
def test_the_order_of_instances_makes_no_difference(order: list[str | None]) -> None:
    """Whoever sits at the default name is put back each time."""
    session, _ = initialize(shelf(), providers=[provider(name, n=name) for name in order])

    assert configs(session) == {name or "a": {"n": name} for name in order}


def test_a_provider_that_mounts_under_another_name_gets_its_instance_id_all_the_same() -> None:
    """The plan's name is what orchestrators are configured with."""
    session, _ = initialize(
        shelf(provider_zzz=mounts_model("own")), providers=[{"module": "provider-zzz", "instance_id": "mine"}]
    )

    assert list(configs(session)) == ["mine"]


async def mount_two(coordinator: Coordinator, config: Any) -> None:
    """Mount two providers, neither under the module's own name."""
    await coordinator.mount("providers", Model(config), "one")
    await coordinator.mount("providers", Model(config), "two")


@pytest.mark.parametrize("mount", [mount_two, mounts("tools", Memory(), "x")])
def test_an_instance_id_names_one_provider(mount: Any) -> None:
    """With two, or none, nobody knows which is meant: the module is left out, and nothing of it stays."""
    session, _ = initialize(
        shelf(provider_b=mount), providers=[provider(n=1), {"module": "provider-b", "instance_id": "b"}]
    )

    assert configs(session) == {"a": {"n": 1}}
    assert [failure.reason_code for failure in session.load_failures] == ["invalid"]


def test_one_object_under_two_names_is_two_instances() -> None:
    """A module may keep one object for all."""
    session, _ = initialize(
        shelf(provider_one=mounts("providers", Model({}), "one")),
        providers=[{"module": "provider-one"}, {"module": "provider-one", "instance_id": "again"}],
    )

    assert list(configs(session)) == ["one", "again"]


def test_unnamed_instances_are_refused_before_any_provider_is_loaded() -> None:
    """The refusal is of the plan, and comes as it is."""
    loader = shelf()

    with pytest.raises(MountPlanInvalid, match="Found 2 entries for module 'provider-a'"):
        initialize(loader, providers=[provider(), provider()])

    assert [module_id for module_id, *_ in loader.asked] == ["loop", "context"]


async def mount_half(coordinator: Coordinator, config: Any) -> None:
    """Mount something, and fail after it."""
    await coordinator.mount("tools", Memory(), "half")
    raise OSError("no disk")


def test_a_module_that_fails_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """The session goes on; the log has the traceback, the hooks an event, the session a record."""
    loader = shelf(tool_half=mount_half, tool_b=mounts("tools", Memory(), "b"))

    session, heard = initialize(loader, tools=[{"module": "tool-half"}, {"module": "tool-b"}, {"module": "tool-none"}])

    assert session.initialized
    assert list(session.coordinator.get("tools")) == ["b"]
    half = {"module_type": "tool", "module_id": "tool-half", "error": "no disk", "reason_code": "mount_failed"}
    assert session.load_failures[0] == LoadFailure(**half)
    assert session.load_failures[1].reason_code == "missing"
    ids = {"session_id": "S-1", "parent_id": None}
    assert heard.said("module:load_failed")[0] == {**half, **ids}
    assert len(heard.said("module:load_failed")) == 2
    record = caplog.records[0]
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "Failed to load tool 'tool-half': no disk")
    assert record.exc_info


async def mount_everywhere(coordinator: Coordinator, config: Any) -> None:
    """Leave something in every place, and fail after it."""
    await coordinator.mount("tools", Memory(), "b")
    await coordinator.mount("tools", Memory(), "new")
    await coordinator.mount("context", None)
    coordinator.register_capability("lent", "new")
    coordinator.register_contributor("channel", "new", dict)
    coordinator.register_contributor("another", "new", dict)
    coordinator.hooks.register("tool:pre", print, name="guard")
    coordinator.hooks.register("tool:post", print, name="new")
    coordinator.register_cleanup(lambda: config.update(is_closed=True))
    raise OSError("no disk")


async def mount_first(coordinator: Coordinator, config: Any) -> None:
    """Be there before."""
    await coordinator.mount("tools", Echo(), "b")
    coordinator.register_capability("lent", "first")
    coordinator.register_contributor("channel", "first", dict)
    coordinator.hooks.register("tool:pre", print, name="guard")


def test_a_module_that_fails_leaves_nothing_behind_but_what_closes_it() -> None:
    """Half a module is worse than none: what it replaced is there again."""
    config: dict[str, Any] = {"is_closed": False}
    loader = shelf(tool_first=mount_first, tool_all=mount_everywhere)

    session, _ = initialize(loader, tools=[{"module": "tool-first"}, {"module": "tool-all", "config": config}])
    coordinator = session.coordinator

    assert [(name, type(tool)) for name, tool in coordinator.get("tools").items()] == [("b", Echo)]
    assert isinstance(coordinator.get("context"), Memory)
    assert coordinator.capabilities == {"lent": "first"}
    assert [(name, len(entries)) for name, entries in coordinator.channels.items()] == [("channel", 1)]
    handlers = {name for names in coordinator.hooks.list_handlers().values() for name in names}
    assert "new" not in handlers
    assert coordinator.hooks.list_handlers("tool:pre")["tool:pre"].count("guard") == 1
    asyncio.run(session.cleanup())
    assert loader.asked[-1][1] == {"is_closed": True}


def test_hooks_that_are_mounted_last_hear_of_the_first_failure() -> None:
    """Providers fail before there is anybody to listen."""
    heard: list[Any] = []

    async def mount_listener(coordinator: Coordinator, config: Any) -> Any:
        return coordinator.hooks.register("module:load_failed", lambda event, data: heard.append(data["instance_id"]))

    initialize(
        shelf(hooks_listen=mount_listener),
        providers=[{"module": "provider-none", "instance_id": "n"}],
        hooks=[{"module": "hooks-listen"}],
    )

    assert heard == ["n"]


@pytest.mark.parametrize(
    "config",
    [
        {"tools": [{"module": "tool-half", "required": True}]},
        {"tools": [{"module": "tool-half"}], "session": {"require_modules": True}},
    ],
)
def test_a_module_that_is_required_stops_the_session(config: dict[str, Any]) -> None:
    """Working on without it would be the wrong work; its own error is the cause."""
    with pytest.raises(SessionNotReady, match=r"^Cannot initialize without tool 'tool-half': no disk$") as caught:
        initialize(shelf(tool_half=mount_half), **config)

    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("fatal", [KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize("module", ["loop", "tool-x"])
def test_what_ends_the_process_ends_the_assembling(fatal: BaseException, module: str) -> None:
    """It is not the module's failure."""

    async def interrupted(coordinator: Coordinator, config: Any) -> None:
        raise fatal

    async def run() -> None:
        loader = shelf(**{module.replace("-", "_"): interrupted})
        with pytest.raises(type(fatal)):
            await Session(plan(tools=[{"module": "tool-x"}]), loader).initialize()

    asyncio.run(run())


def telling(mount: Any, function: Any) -> Any:
    """Return a mount function whose module wants to be told when all is ready."""
    mount.on_session_ready = function
    return mount


def test_modules_are_told_when_all_are_there_in_the_order_of_mounting() -> None:
    """The first module may use what the last one lends."""
    told: list[Any] = []

    async def tell(coordinator: Coordinator) -> None:
        told.append(coordinator.to_dict()["tools"])

    loader = shelf(
        loop=telling(mounts("orchestrator", Echo()), tell),
        tool_b=telling(mounts("tools", Memory(), "b"), tell),
        tool_half=telling(mount_half, tell),
    )
    session, _ = initialize(loader, tools=[{"module": "tool-half"}, {"module": "tool-b"}])
    asyncio.run(session.initialize())

    assert told == [["b"], ["b"]]


def test_who_fails_to_get_ready_is_logged_and_told_and_the_next_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    """It may still do most of its work."""
    told: list[str] = []

    async def fail(coordinator: Coordinator) -> None:
        raise ValueError("not ready")

    async def tell(coordinator: Coordinator) -> None:
        told.append("context")

    def sync(coordinator: Coordinator) -> None:
        told.append("sync")

    loader = shelf(
        loop=telling(mounts("orchestrator", Echo()), fail),
        context=telling(mounts("context", Memory()), tell),
        tool_b=telling(mounts("tools", Memory(), "b"), sync),
    )
    _, heard = initialize(loader, tools=[{"module": "tool-b"}])

    assert told == ["context"]
    assert heard.said("module:on_session_ready_failed") == [
        {"module_id": "loop", "error": "not ready", "session_id": "S-1", "parent_id": None}
    ]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "is not async and is skipped" in caplog.text


def test_an_interrupt_while_getting_ready_stays_one() -> None:
    """It is the user's, and no module's failure."""

    async def interrupt(coordinator: Coordinator) -> None:
        raise KeyboardInterrupt

    async def run() -> None:
        loader = shelf(loop=telling(mounts("orchestrator", Echo()), interrupt))
        with pytest.raises(KeyboardInterrupt):
            await Session(plan(), loader).initialize()

    asyncio.run(run())
