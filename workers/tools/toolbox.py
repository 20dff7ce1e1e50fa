"""The toolbox of one app: every tool of every MCP server that it declares, by full name `server:tool`.

Here servers are built and calls routed. A server that cannot be reached fails its own tools only. A toolbox
belongs to one process and one loop; it may be built before a fork, connections are opened after it.
"""

import asyncio
import gc
from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib import import_module
from types import ModuleType
from typing import Protocol, cast

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec, McpServer
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, ToolError, ToolUnavailable, suggest
from orchestrator.contracts.messages import ToolSchema
from orchestrator.contracts.tool_questions import ToolAnswers
from workers.tools.threads import ThreadBudget

#: Gives the module that a server's `module` names; `orchestrator.app_loader` has one.
LoadModule = Callable[[AppSpec, str], ModuleType]

#: Fits a session's state; a larger result belongs into a file that the tool names.
RESULT_BYTES = 256 * 1024
#: A command server in Python needs two seconds to start on a small machine.
CONNECT_SECONDS = 15.0
#: Blocking tools at a time in one process; each costs a thread.
BLOCKING_THREADS = 64


class Server(Protocol):
    """What the toolbox asks of one server."""

    name: str

    @property
    def listed(self) -> Mapping[str, ToolSchema]:
        """The tools as last listed, by bare name; empty before."""
        ...

    async def tools(self, *, refresh: bool = False) -> Mapping[str, ToolSchema]:
        """Return the tools by bare name; raise ToolUnavailable."""
        ...

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Call a tool by its bare name."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class AppToolbox:
    """The tools of one app. Implements `orchestrator.contracts.ports.Toolbox`."""

    def __init__(self, app: str, servers: Mapping[str, Server]) -> None:
        self.app, self._servers = app, dict(servers)

    async def catalogue(self, *, refresh: bool = False) -> Mapping[str, ToolSchema]:
        """Return every tool by full name; raise ToolUnavailable that names the server that cannot be reached."""
        asked = (server.tools(refresh=refresh) for server in self._servers.values())
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return {schema.name: schema for server in self._servers.values() for schema in server.listed.values()}

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Call a tool by its full name; raise ToolError, ToolTimeout, ToolNeedsInput or ToolUnavailable.

        A call whose tool has asked for input is made again, the same, with the answers.
        """
        server, name = self._find(tool)
        return await server.call(name, args, timeout_seconds=timeout_seconds, answers=answers)

    def accepts(self, tool: str, argument: str) -> bool:
        """Say whether a tool's schema names this argument; needs the catalogue, else raises ToolUnavailable."""
        server, name = self._find(tool)
        if not server.listed:
            raise ToolUnavailable(
                f"{tool}: the tools of {server.name!r} are not listed yet; ask for the catalogue first"
            )
        schema = server.listed.get(name)
        if schema is None:
            raise ToolError(f"{tool}: no such tool; {suggest(name, server.listed)}")
        properties = schema.parameters.get("properties")
        return isinstance(properties, dict) and argument in properties

    async def aclose(self) -> None:
        """Close every client."""
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))

    def _find(self, tool: str) -> tuple[Server, str]:
        name, _, bare = tool.partition(":")
        server = self._servers.get(name)
        if server is None or not bare:
            raise ToolError(f"tool {tool[:200]!r}: no such server in {self.app}; {suggest(name, self._servers)}")
        return server, bare


def build_toolbox(
    spec: AppSpec,
    *,
    load_module: LoadModule,
    result_bytes: int = RESULT_BYTES,
    connect_seconds: float = CONNECT_SECONDS,
    blocking_threads: int = BLOCKING_THREADS,
) -> AppToolbox:
    """Build the servers that an app declares and has not disabled; raise ConfigError for one that cannot be built.

    A server in this process is registered at once, so that its mistakes show at boot. A remote one is only
    remembered: that it is down must not keep an app from starting.
    """
    threads = ThreadBudget(blocking_threads)
    servers: dict[str, Server] = {}
    for declared in spec.mcp_servers:
        if not declared.enabled:
            continue
        if declared.name in servers or ":" in declared.name:
            raise ConfigError(f"{spec.name}: MCP server {declared.name!r}: its name is taken or has a colon; rename it")
        if declared.module is not None:
            servers[declared.name] = _in_process(spec, declared, load_module, result_bytes, threads)
        elif declared.url is not None or declared.command:
            from workers.tools.remote import RemoteServer

            servers[declared.name] = RemoteServer(
                declared, root=spec.root, result_bytes=result_bytes, connect_seconds=connect_seconds
            )
        else:
            raise ConfigError(f"{spec.name}: MCP server {declared.name!r}: give it a module, a url or a command")
    return AppToolbox(spec.name, servers)


def _in_process(
    spec: AppSpec, declared: McpServer, load_module: LoadModule, result_bytes: int, threads: ThreadBudget
) -> Server:
    from workers.tools.inprocess import InProcessServer

    module = load_module(spec, cast(str, declared.module))
    register = getattr(module, "register", None)
    if not callable(register):
        raise ConfigError(
            f"{spec.name}: MCP server {declared.name!r}: {declared.module} has no register(mcp_app, cfg); add one"
        )
    told: JsonObject = {
        "app": spec.name,
        "environments": list(spec.environments),
        "escalation_teams": list(spec.escalation_teams),
    }
    config: JsonObject = deepcopy(declared.config) | told
    return InProcessServer(declared.name, register, config, result_bytes=result_bytes, threads=threads)


def preload() -> None:
    """Import what calls need, in the parent before workers fork: they then share its pages.

    jsonschema is among them because the client imports it when the first remote result arrives.
    """
    for module in ("workers.tools.inprocess", "workers.tools.remote", "jsonschema"):
        import_module(module)


def freeze() -> None:
    """Keep the garbage collector off what is loaded: a forked child's first collection then copies no pages.

    Call it in the parent, after everything is loaded and right before the fork.
    """
    gc.collect()
    gc.freeze()
