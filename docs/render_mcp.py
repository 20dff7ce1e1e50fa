"""Render the tables of docs/reference/mcp.md from the MCP server itself: tools with their roles and arguments, resources."""

import asyncio
from typing import Any

from fastmcp import FastMCP

from orchestrator.client import Client
from orchestrator.contracts.access import Caller, expand_roles
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.server import build_server
from orchestrator.operations import Operations
from orchestrator.store.store import Store


def render_tools() -> str:
    """Return a table of all tools: what each does, its arguments, and the role that it needs."""
    desk, server = _build()
    rows = ["| tool | what it does | arguments | role |", "| --- | --- | --- | --- |"]
    for tool in sorted(asyncio.run(server.list_tools()), key=lambda tool: tool.name):
        required = set(tool.parameters.get("required", ()))
        names = ", ".join(f"**{one}**" if one in required else one for one in tool.parameters["properties"])
        rows.append(f"| `{tool.name}` | {_first(tool.description)} | {names or '-'} | {desk.roles[tool.name]} |")
    return "\n".join(rows)


def render_resources() -> str:
    """Return a table of all resources."""
    _, server = _build()
    found = {str(one.uri): one.description for one in asyncio.run(server.list_resources())}
    found |= {one.uri_template: one.description for one in asyncio.run(server.list_resource_templates())}
    rows = ["| resource | what it holds |", "| --- | --- |"]
    return "\n".join([*rows, *(f"| `{uri}` | {_first(text)} |" for uri, text in sorted(found.items()))])


def _first(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".").replace("|", "\\|")


def _build() -> tuple[Desk, FastMCP[Any]]:
    caller = Caller(name="docs", roles=expand_roles(("operator",)), way="open")
    desk = Desk(Operations(Client(Store("redis://nowhere"), {})), lambda: caller)
    return desk, build_server(desk)
