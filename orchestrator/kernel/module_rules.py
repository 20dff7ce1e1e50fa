"""What makes a Python module one that can be mounted: its name, its type, its mount function, its parts.

    package    PREFIX + the module's id with `_` for `-`, beside which `mount` stands
    mount      async def mount(coordinator, config): mounts something, may return a cleanup function
    type       `__module_type__` beside mount, else what the id's first or last word says
    parts      what an object of that type must have to be used; nothing is called to find out

Pure: looks at names and signatures. Finding and importing is the work of `live/modules.py`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from orchestrator.contracts.errors import suggest
from orchestrator.contracts.modules import ModuleType

ENTRY_POINT_GROUP: Final = "baton.modules"
PACKAGE_PREFIX: Final = "baton_module_"
TYPE_ATTRIBUTE: Final = "__module_type__"

MODULE_TYPES: Final[tuple[ModuleType, ...]] = get_args(ModuleType)

#: Word of a module's id → its type, where the module itself does not say.
TYPE_BY_WORD: Final[Mapping[str, ModuleType]] = {
    "orchestrator": "orchestrator",
    "loop": "orchestrator",
    "provider": "provider",
    "tool": "tool",
    "hook": "hook",
    "hooks": "hook",
    "context": "context",
    "resolver": "resolver",
}

#: Type → what its objects must have.
PARTS: Final[Mapping[ModuleType, tuple[str, ...]]] = {
    "orchestrator": ("execute",),
    "provider": ("name", "get_info", "list_models", "complete", "parse_tool_calls"),
    "tool": ("name", "description", "execute"),
    "context": ("add_message", "get_messages_for_request", "get_messages", "set_messages", "clear"),
    "hook": (),
    "resolver": ("resolve",),
}
#: What may stand in for a part.
INSTEAD: Final[Mapping[str, str]] = {"resolve": "async_resolve"}


def package_name(module_id: str, prefix: str = PACKAGE_PREFIX) -> str:
    """Return the package that a module's id stands for.

    >>> package_name("tool-web-search")
    'baton_module_tool_web_search'
    """
    return prefix + module_id.replace("-", "_")


def guess_type(module_id: str) -> ModuleType:
    """Return the type that an id speaks of, by its first word, else its last; a tool where it says nothing.

    >>> [guess_type(name) for name in ("loop-basic", "hooks-audit", "my-provider", "search")]
    ['orchestrator', 'hook', 'provider', 'tool']
    """
    words = module_id.split("-")
    return TYPE_BY_WORD.get(words[0]) or TYPE_BY_WORD.get(words[-1]) or "tool"


def find_type(module_id: str, declared: object) -> tuple[ModuleType, list[str]]:
    """Return the type of a module that declares this (None for nothing), and what is wrong with that."""
    if declared is None:
        return guess_type(module_id), []
    for known in MODULE_TYPES:
        if declared == known:
            return known, []
    return guess_type(module_id), [
        f"{TYPE_ATTRIBUTE} = {declared!r} is no type; {suggest(str(declared), MODULE_TYPES)}"
    ]


def check_mount(mount: object) -> list[str]:
    """Return what is wrong with a module's mount function; None stands for one that is missing."""
    if mount is None:
        return ["it has no mount function; write `async def mount(coordinator, config)`"]
    if not callable(mount):
        return [f"its mount is not a function but {type(mount).__name__}"]
    problems = [] if is_async(mount) else ["its mount is not async; write `async def mount(coordinator, config)`"]
    try:
        inspect.signature(mount).bind(None, None)
    except TypeError:
        problems.append("its mount does not take (coordinator, config)")
    except ValueError:  # a built-in function without a signature: only a call can tell
        pass
    return problems


def check_parts(module_type: ModuleType, module: object) -> list[str]:
    """Return the parts that an object of this type lacks."""
    return [
        f"its {module_type} has no {part!r}"
        for part in PARTS[module_type]
        if not hasattr(module, part) and not hasattr(module, INSTEAD.get(part, part))
    ]


def is_async(function: Callable[..., Any]) -> bool:
    """Say whether a call returns a coroutine: an async function, or an object whose call is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - its kind is asked for, not whether it is there
