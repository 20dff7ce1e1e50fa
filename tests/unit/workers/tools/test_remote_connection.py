"""What becomes of a connection to a tool server that asks, is silent, or is away: declined, given up, told without secrets."""

import asyncio
import logging
from typing import Any

import pytest
from fastmcp import Client, Context, FastMCP

from orchestrator import telemetry
from orchestrator.contracts.app import McpServer
from orchestrator.contracts.errors import ToolUnavailable
from workers.tools.connection import decline, unavailable
from workers.tools.remote import RemoteServer


def test_an_old_server_that_asks_in_the_middle_of_a_call_is_declined() -> None:
    """Before 2026 a server asked while the call waited; nobody is there to answer, so the answer is no."""
    app: FastMCP[Any] = FastMCP("old")

    @app.tool
    async def ask(ctx: Context) -> str:
        return str((await ctx.elicit("Really?", str)).action)

    async def run() -> object:
        async with Client(app, mode="legacy", elicitation_handler=decline) as client:
            return (await client.call_tool("ask", {})).data

    assert asyncio.run(run()) == "decline"


def test_a_server_that_accepts_and_is_silent_is_given_up() -> None:
    """A connection attempt has a limit of its own, whatever the tool's."""

    async def run() -> str:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        listener = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        declared = McpServer(name="far", url=f"http://127.0.0.1:{port}/mcp")
        server = RemoteServer(declared, root="", result_bytes=1000, connect_seconds=0.3)
        async with listener:
            with pytest.raises(ToolUnavailable) as refused:
                await server.call("add", {}, timeout_seconds=5)
            await server.aclose()
        return str(refused.value)

    assert "cannot be reached" in asyncio.run(run())


def test_a_secret_where_the_log_cuts_why_a_server_is_away_is_hidden_whole(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a transport raises may hold the URL that it was given."""
    redactor = telemetry.Redactor()
    redactor.hide(["swordfish"])
    monkeypatch.setattr(telemetry, "_redactor", redactor)

    with caplog.at_level(logging.WARNING, "baton.tools"):
        unavailable("far", OSError("x" * 294 + "swordfish"))

    [line] = [record.getMessage() for record in caplog.records if record.name == "baton.tools"]
    assert "x[hidd" in line
    assert "xsword" not in line
