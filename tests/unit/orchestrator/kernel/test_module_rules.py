"""What makes a Python module one that can be mounted."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.contracts import module_ports
from orchestrator.contracts.ports import ContextManager
from orchestrator.kernel.live.module_sources import ModuleSourceResolver
from orchestrator.kernel.module_rules import (
    MODULE_TYPES,
    PARTS,
    check_mount,
    check_parts,
    find_type,
    guess_type,
    is_async,
    package_name,
)


async def mount(coordinator: Any, config: Any) -> None:
    """Be as it should."""


async def mount_alone(coordinator: Any) -> None:
    """Lack the config."""


async def mount_with_more(coordinator: Any, config: Any = None, *, more: int = 1) -> None:
    """Have more than is needed."""


def mount_sync(coordinator: Any, config: Any) -> None:
    """Be sync."""


class Mount:
    """An object with an async call."""

    async def __call__(self, coordinator: Any, config: Any) -> None:
        """Mount."""


class Unsigned(Mount):
    """An object that does not tell its signature, as compiled functions do not."""

    @property
    def __signature__(self) -> Any:
        raise ValueError("no signature found")


@pytest.mark.parametrize("good", [mount, mount_with_more, Mount(), partial(mount_with_more, more=2), Unsigned()])
def test_a_mount_function_takes_a_coordinator_and_a_config(good: Any) -> None:
    """However it is made."""
    assert check_mount(good) == []


@pytest.mark.parametrize(
    ("bad", "problems"),
    [
        (None, ["has no mount function"]),
        (5, ["not a function but int"]),
        (mount_alone, ["does not take (coordinator, config)"]),
        (mount_sync, ["is not async"]),
        (lambda: None, ["is not async", "does not take (coordinator, config)"]),
    ],
)
def test_a_mount_function_that_cannot_be_awaited_with_both_is_refused(bad: Any, problems: list[str]) -> None:
    """All that is wrong is told at once, before anything is mounted."""
    found = check_mount(bad)

    assert len(found) == len(problems)
    assert all(part in problem for part, problem in zip(problems, found, strict=True))


@pytest.mark.parametrize(
    ("module_id", "module_type"),
    [
        ("tool-x", "tool"),
        ("provider-x", "provider"),
        ("hooks-x", "hook"),
        ("hook-x", "hook"),
        ("context-x", "context"),
        ("loop-x", "orchestrator"),
        ("orchestrator-x", "orchestrator"),
        ("resolver-x", "resolver"),
        ("my-provider", "provider"),
        ("x", "tool"),
        ("toolx", "tool"),
        ("", "tool"),
    ],
)
def test_an_id_speaks_of_a_type(module_id: str, module_type: str) -> None:
    """Modules that say nothing are what their names say."""
    assert guess_type(module_id) == module_type


def test_what_a_module_declares_goes_before_its_name() -> None:
    """And what it declares wrongly is told with what it might have meant."""
    assert find_type("tool-x", "provider") == ("provider", [])
    assert find_type("tool-x", None) == ("tool", [])
    assert find_type("tool-x", "providr") == (
        "tool",
        ["__module_type__ = 'providr' is no type; did you mean 'provider'?"],
    )


@pytest.mark.parametrize("module_type", MODULE_TYPES)
def test_every_type_lists_its_parts(module_type: Any) -> None:
    """An object is looked at, never called, to learn whether it can be used."""
    parts = PARTS[module_type]

    assert check_parts(module_type, SimpleNamespace(**dict.fromkeys(parts))) == []
    assert check_parts(module_type, object()) == [f"its {module_type} has no {part!r}" for part in parts]


@pytest.mark.parametrize(
    ("module_type", "protocol"),
    [
        ("orchestrator", module_ports.Orchestrator),
        ("provider", module_ports.Provider),
        ("tool", module_ports.Tool),
        ("context", ContextManager),
        ("resolver", ModuleSourceResolver),
    ],
)
def test_a_part_is_one_of_the_protocol_s(module_type: Any, protocol: type) -> None:
    """What is asked for at mounting is what modules are told to have."""
    assert [part for part in PARTS[module_type] if not hasattr(protocol, part)] == []


def test_a_resolver_may_be_async_only() -> None:
    """One of the two is enough."""
    assert check_parts("resolver", SimpleNamespace(async_resolve=None)) == []


def test_a_package_is_named_after_the_id() -> None:
    """Python's names have no hyphens."""
    assert package_name("tool-a-b") == "baton_module_tool_a_b"
    assert package_name("tool-a", "other_") == "other_tool_a"


def test_async_is_a_function_or_an_object_that_returns_a_coroutine() -> None:
    """A sync function would be called and forgotten."""
    assert [is_async(one) for one in (mount, Mount(), mount_sync, object)] == [True, True, False, False]
