"""Clients of the official SDK for Baton's MCP server: over standard input and output, and over HTTP."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

COMMAND = ("-P", "-m", "orchestrator.interfaces.cli.main", "mcp")


def stdio(env: Mapping[str, str], *args: str, **more: Any) -> Client:
    """Return a client of `baton mcp`, which it starts."""
    return Client(
        StdioServerParameters(command=sys.executable, args=[*COMMAND, *args], env=dict(env)),
        read_timeout_seconds=30,
        **more,
    )


@asynccontextmanager
async def over_http(base: str, headers: Mapping[str, str] | None = None, **more: Any) -> AsyncIterator[Client]:
    """Lend a client of /mcp."""
    async with httpx2.AsyncClient(headers=dict(headers or {}), timeout=30, trust_env=False) as http:
        transport = streamable_http_client(f"{base}/mcp", http_client=http)
        async with Client(transport, read_timeout_seconds=30, **more) as client:
            yield client


async def call(client: Client, tool: str, **args: object) -> dict[str, Any]:
    """Call a tool and return its structured result."""
    result = await client.call_tool(tool, args)
    assert not result.is_error, said(result)
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, tool: str, **args: object) -> str:
    """Call a tool that refuses, and return what it says."""
    result = await client.call_tool(tool, args)
    assert result.is_error
    return said(result)


def said(result: CallToolResult) -> str:
    """Return a result's text."""
    return "\n".join(one.text for one in result.content if isinstance(one, TextContent))
