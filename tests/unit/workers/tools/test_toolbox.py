"""Tests of the toolbox: building servers from a declaration, routing calls by full name."""

import asyncio
from types import ModuleType
from typing import Any

import pytest
from fastmcp import FastMCP

from orchestrator.contracts.app import AppSpec, McpServer
from orchestrator.contracts.errors import ConfigError, ToolError, ToolUnavailable
from orchestrator.contracts.skill import Responsive
from workers.tools.toolbox import AppToolbox, build_toolbox, preload


def spec_with(*servers: McpServer) -> AppSpec:
    """Return an app with these servers."""
    return AppSpec(
        name="sample",
        entry_skill="start",
        skills={"start": Responsive(name="start")},
        environments=("production", "dev"),
        escalation_teams=("night-watch",),
        mcp_servers=servers,
    )


def module_with(register: object) -> ModuleType:
    """Return a module that has this `register`."""
    module = ModuleType("sample_tools")
    module.register = register  # type: ignore[attr-defined]
    return module


def echoing(mcp_app: FastMCP[Any], cfg: dict[str, Any]) -> None:
    """Register two tools, one of which tells what `register` was told."""

    @mcp_app.tool
    async def told() -> dict[str, Any]:
        """Return the configuration."""
        return cfg

    @mcp_app.tool
    def greet(name: str, idempotency_key: str = "") -> str:
        """Greet."""
        return f"hello {name}"


def toolbox_of(*servers: McpServer, register: object = echoing) -> AppToolbox:
    """Build a toolbox whose modules all have this `register`."""
    return build_toolbox(spec_with(*servers), load_module=lambda _spec, _reference: module_with(register))


LOCAL = McpServer(name="local", module="tools.py", config={"limit": 3})
DEAD = McpServer(name="far", url="http://127.0.0.1:1/mcp")


def test_the_catalogue_names_tools_by_server() -> None:
    """Two servers may have a tool of the same name; a model and a policy see which one is meant."""
    toolbox = toolbox_of(LOCAL, McpServer(name="other", module="tools.py"))

    catalogue = asyncio.run(toolbox.catalogue())

    assert sorted(catalogue) == ["local:greet", "local:told", "other:greet", "other:told"]
    assert catalogue["local:greet"].description == "Greet."
    assert catalogue["local:greet"].parameters["required"] == ["name"]


def test_register_is_told_the_apps_words() -> None:
    """A tool checks an environment or a team against what app.yaml declares, not against a copy of it."""
    told = asyncio.run(toolbox_of(LOCAL).call("local:told", {}, timeout_seconds=5))

    assert told == {
        "limit": 3,
        "app": "sample",
        "environments": ["production", "dev"],
        "escalation_teams": ["night-watch"],
    }


def test_a_disabled_server_is_not_built() -> None:
    """An operator switches a server off without deleting its declaration."""
    toolbox = toolbox_of(LOCAL, McpServer(name="off", module="missing.py", enabled=False))

    assert {name.split(":")[0] for name in asyncio.run(toolbox.catalogue())} == {"local"}


@pytest.mark.parametrize("tool", ["lokal:greet", "greet", "local:", ":greet", ""])
def test_an_unknown_server_is_refused_with_the_known_ones(tool: str) -> None:
    """A model that misspells a name can mend its call from the message alone."""
    with pytest.raises(ToolError, match="local"):
        asyncio.run(toolbox_of(LOCAL).call(tool, {}, timeout_seconds=5))


def test_an_unknown_tool_is_refused_with_a_suggestion() -> None:
    """The nearest name is the likeliest mistake."""
    with pytest.raises(ToolError, match="did you mean 'greet'"):
        asyncio.run(toolbox_of(LOCAL).call("local:great", {}, timeout_seconds=5))


def test_accepts_reads_the_schema() -> None:
    """Only a tool that names the idempotency key is given one: others would refuse the call."""
    toolbox = toolbox_of(LOCAL)

    asyncio.run(toolbox.catalogue())

    assert toolbox.accepts("local:greet", "idempotency_key")
    assert not toolbox.accepts("local:told", "idempotency_key")


def test_accepts_without_a_catalogue_is_refused() -> None:
    """A wrong "no" would let an idempotent tool run twice without its key."""
    with pytest.raises(ToolUnavailable, match="ask for the catalogue first"):
        toolbox_of(LOCAL).accepts("local:greet", "idempotency_key")


def test_a_dead_server_fails_its_own_tools_only() -> None:
    """An app goes on with the servers that it can reach."""
    toolbox = toolbox_of(LOCAL, DEAD)

    async def use() -> tuple[object, str]:
        greeting = await toolbox.call("local:greet", {"name": "you"}, timeout_seconds=5)
        with pytest.raises(ToolUnavailable) as refused:
            await toolbox.call("far:any", {}, timeout_seconds=5)
        await toolbox.aclose()
        return greeting, str(refused.value)

    greeting, message = asyncio.run(use())
    assert greeting == "hello you"
    assert message.startswith("tool server 'far': cannot be reached")


def test_the_catalogue_names_the_server_that_is_missing() -> None:
    """A session that starts without a server's tools would take an outage for a missing tool."""
    with pytest.raises(ToolUnavailable, match="'far'"):
        asyncio.run(toolbox_of(LOCAL, DEAD).catalogue())


@pytest.mark.parametrize(
    ("servers", "problem"),
    [
        ((McpServer(name="none"),), "give it a module, a url or a command"),
        ((LOCAL, LOCAL), "its name is taken"),
        ((McpServer(name="a:b", module="tools.py"),), "has a colon"),
        ((McpServer(name="odd", url="ftp://example.invalid"),), "not http or https"),
    ],
)
def test_a_server_that_cannot_be_built_is_a_configuration_error(servers: tuple[McpServer, ...], problem: str) -> None:
    """An operator reads what to mend before any session has started."""
    with pytest.raises(ConfigError, match=problem):
        toolbox_of(*servers)


def test_a_module_without_register_is_a_configuration_error() -> None:
    """The message names the function to add."""
    with pytest.raises(ConfigError, match=r"no register\(mcp_app, cfg\)"):
        toolbox_of(LOCAL, register=None)


def test_preload_imports_what_calls_need() -> None:
    """The parent imports once; its children share the pages."""
    import sys

    preload()

    assert {"fastmcp", "jsonschema", "workers.tools.remote"} <= set(sys.modules)
