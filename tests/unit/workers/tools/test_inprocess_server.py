"""Tests of servers in this process: arguments, errors, threads, limits of time and size."""

import asyncio
import logging
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError as ToldError
from fastmcp.server.middleware import Middleware
from mcp_types import InputRequiredResult, TextContent
from pydantic import BaseModel, JsonValue

from orchestrator import telemetry
from orchestrator.contracts.errors import ToolError, ToolNeedsInput, ToolTimeout, ToolUnavailable
from workers.tools.inprocess import InProcessServer
from workers.tools.threads import ThreadBudget


def server_of(*tools: Callable[..., object], result_bytes: int = 10_000, threads: int = 4) -> InProcessServer:
    """Build a server with these tools."""

    def register(mcp_app: FastMCP[Any], _cfg: object) -> None:
        for tool in tools:
            mcp_app.tool(tool)

    return InProcessServer("s", register, {}, result_bytes=result_bytes, threads=ThreadBudget(threads))


def call(
    server: InProcessServer, tool: str, args: dict[str, JsonValue] | None = None, *, timeout_seconds: float = 5
) -> JsonValue:
    """Make one call on a loop of its own."""
    return asyncio.run(server.call(tool, args or {}, timeout_seconds=timeout_seconds))


class Finding(BaseModel):
    """A result with a schema."""

    line: int
    text: str = "x"


def finding(line: int) -> Finding:
    """Return a model."""
    return Finding(line=line)


async def numbers(count: int) -> list[int]:
    """Return a list, which MCP can only carry wrapped."""
    return list(range(count))


async def own_result_key() -> dict[str, int]:
    """Return an object that looks like the wrapping."""
    return {"result": 7}


async def nothing() -> None:
    """Return nothing."""


def blocks() -> list[TextContent]:
    """Return two blocks of text."""
    return [TextContent(type="text", text="one"), TextContent(type="text", text="two")]


def not_finite() -> dict[str, float]:
    """Return numbers that JSON does not have."""
    return {"nan": math.nan, "inf": math.inf}


@pytest.mark.parametrize(
    ("tool", "args", "expected"),
    [
        (finding, {"line": 3}, {"line": 3, "text": "x"}),
        (numbers, {"count": 3}, [0, 1, 2]),
        (own_result_key, {}, {"result": 7}),
        (nothing, {}, None),
        (blocks, {}, "one\ntwo"),
        (not_finite, {}, {"nan": None, "inf": None}),
    ],
)
def test_results_are_plain_json(tool: Callable[..., object], args: dict[str, JsonValue], expected: JsonValue) -> None:
    """Terminal rules and state updates look fields up in what the tool returned, not in MCP's envelope."""
    assert call(server_of(tool), tool.__name__, args) == expected


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"line": "many"}, "line: Input should be a valid integer"),
        ({"line": 1, "colour": "red"}, "colour: Unexpected keyword argument"),
        ({}, "line: Missing required argument"),
    ],
)
def test_wrong_arguments_are_refused(args: dict[str, JsonValue], problem: str) -> None:
    """The tool never sees arguments that its signature does not allow, and the model reads which are wrong."""
    with pytest.raises(ToolError, match=problem) as refused:
        call(server_of(finding), "finding", args)
    assert "many" not in str(refused.value)


def test_a_told_error_reaches_the_model() -> None:
    """An app says with ToolError what the model should do differently."""

    def refuse() -> str:
        raise ToldError("that ticket is closed")

    with pytest.raises(ToolError, match=r"^s:refuse: that ticket is closed$"):
        call(server_of(refuse), "refuse")


def test_an_error_of_our_contracts_reaches_the_model_as_it_is() -> None:
    """An app may say that its back end is down; the runtime then tries again later."""

    def unreachable() -> str:
        raise ToolUnavailable("the ticket system is down")

    with pytest.raises(ToolUnavailable, match=r"^the ticket system is down$"):
        call(server_of(unreachable), "unreachable")


def test_any_other_exception_is_masked_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A model must not read a stack or a secret; the operator must read what happened and where."""

    def crash() -> str:
        raise RuntimeError("connection to db-7 lost")

    with caplog.at_level(logging.WARNING, "baton.tools"), pytest.raises(ToolError) as refused:
        call(server_of(crash), "crash")

    assert str(refused.value) == "s:crash: Error calling tool 'crash'"
    [line] = [record.getMessage() for record in caplog.records if record.name == "baton.tools"]
    assert "raised RuntimeError: connection to db-7 lost (test_inprocess_server.py:" in line
    assert "raise RuntimeError(" not in line
    assert not logging.getLogger("fastmcp").propagate


def test_a_secret_where_the_log_cuts_what_was_raised_is_hidden_whole(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half that is left of it would pass the log unnoticed."""
    redactor = telemetry.Redactor()
    redactor.hide(["swordfish"])
    monkeypatch.setattr(telemetry, "_redactor", redactor)

    def crash() -> str:
        raise RuntimeError("x" * 294 + "swordfish")

    with caplog.at_level(logging.WARNING, "baton.tools"), pytest.raises(ToolError):
        call(server_of(crash), "crash")

    [line] = [record.getMessage() for record in caplog.records if record.name == "baton.tools"]
    assert "x[hidd" in line
    assert "xsword" not in line


def test_a_wrong_model_inside_a_tool_is_masked_too() -> None:
    """A validation error of the tool's own data is its bug, not the caller's."""

    def confused() -> str:
        Finding.model_validate({"line": "secret"})
        return ""

    with pytest.raises(ToolError, match="Error calling tool 'confused'"):
        call(server_of(confused), "confused")


async def exits() -> None:
    """End the process, or try to."""
    sys.exit(1)


def exits_in_thread() -> None:
    """End the process from a thread, or try to."""
    sys.exit(1)


@pytest.mark.parametrize("tool", [exits, exits_in_thread])
def test_a_tool_cannot_end_the_worker(tool: Callable[..., object]) -> None:
    """One tool's sys.exit would take hundreds of sessions with it."""
    with pytest.raises(ToolError, match="tried to end the process"):
        call(server_of(tool), tool.__name__)


def test_blocking_tools_run_off_the_loop() -> None:
    """While one tool blocks, every other session of the process goes on."""
    release = threading.Event()

    def blocks_until_released() -> str:
        assert release.wait(60)
        return threading.current_thread().name

    async def on_loop() -> str:
        release.set()
        return threading.current_thread().name

    async def both() -> list[JsonValue]:
        server = server_of(blocks_until_released, on_loop)
        calls = (server.call(name, {}, timeout_seconds=10) for name in ("blocks_until_released", "on_loop"))
        return await asyncio.gather(*calls)

    blocking, looping = asyncio.run(both())
    assert looping == threading.current_thread().name
    assert blocking != looping


def test_a_tool_that_asks_to_run_on_the_loop_gets_a_thread() -> None:
    """fastmcp allows it; a worker cannot."""

    def where() -> str:
        return threading.current_thread().name

    def register(mcp_app: FastMCP[Any], _cfg: object) -> None:
        mcp_app.tool(where, run_in_thread=False)

    server = InProcessServer("s", register, {}, result_bytes=1000, threads=ThreadBudget(1))

    assert call(server, "where") != threading.current_thread().name


def test_a_tool_without_an_answer_times_out() -> None:
    """A step holds its lease no longer than its app allows."""

    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ToolTimeout, match=r"no result in 0\.05 s"):
        call(server_of(hang), "hang", timeout_seconds=0.05)


def test_a_timeout_that_the_tool_raised_is_an_error_of_the_tool() -> None:
    """Only our own clock makes a call uncertain."""

    async def slow_back_end() -> None:
        raise TimeoutError("the database took too long")

    with pytest.raises(ToolError) as refused:
        call(server_of(slow_back_end), "slow_back_end")
    assert not isinstance(refused.value, ToolTimeout)


def test_hanging_threads_are_bounded() -> None:
    """A thread cannot be stopped: past the budget, calls are refused instead of adding threads for ever."""
    release = threading.Event()

    def hang() -> str:
        release.wait(30)
        return "late"

    async def fill() -> str:
        server = server_of(hang, threads=1)
        for _ in range(2):
            with pytest.raises(ToolTimeout):
                await server.call("hang", {}, timeout_seconds=0.05)
        with pytest.raises(ToolUnavailable) as refused:
            await server.call("hang", {}, timeout_seconds=0.05)
        release.set()
        return str(refused.value)

    assert "2 calls hang in threads" in asyncio.run(fill())


def test_a_cancelled_call_leaves_the_server_usable() -> None:
    """A lost lease stops a step in the middle of a call."""
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async def cancel_then_call() -> JsonValue:
        server = server_of(hang, numbers)
        task = asyncio.create_task(server.call("hang", {}, timeout_seconds=30))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await server.call("numbers", {"count": 1}, timeout_seconds=5)

    assert asyncio.run(cancel_then_call()) == [0]


@pytest.mark.parametrize("middleware", [False, True])
def test_a_tool_that_awaits_what_was_cancelled_fails(middleware: bool) -> None:
    """Nobody has cancelled the call: it is an error of the tool, as any other that it raises."""

    async def give_up() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    class Passing(Middleware):
        """Looks on."""

    server = server_of(give_up)
    if middleware:
        server._app.add_middleware(Passing())
        server._has_middleware = True
    with pytest.raises(ToolError, match="Error calling tool 'give_up'"):
        call(server, "give_up")


def test_a_result_over_the_limit_is_refused() -> None:
    """A session's state has a size limit; the tool's caller learns it before the commit."""

    def large() -> str:
        return "x" * 200

    with pytest.raises(ToolError, match="has 202 bytes, over the limit of 100"):
        call(server_of(large, result_bytes=100), "large")


def test_a_question_is_an_error_of_its_own_kind() -> None:
    """What a tool asks can become an approval; it must not pass as a result."""

    def ask() -> InputRequiredResult:
        return InputRequiredResult(request_state="halfway")

    with pytest.raises(ToolNeedsInput) as asked:
        call(server_of(ask), "ask")
    assert asked.value.request_state == "halfway"


def test_a_question_in_the_middle_of_a_call_fails_closed() -> None:
    """Nobody is there to answer while a call runs."""

    async def elicit(ctx: Context) -> str:
        return str((await ctx.elicit("Really?", str)).action)

    with pytest.raises(ToolError, match="Error calling tool"):
        call(server_of(elicit), "elicit")


def test_a_server_with_its_own_middleware_is_masked_as_well() -> None:
    """An app may wrap its tools; what the wrapping raises is no more for the model than what a tool raises."""

    class Failing(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            if context.message.name == "numbers":
                raise RuntimeError("the password is swordfish")
            return await call_next(context)

    def register(mcp_app: FastMCP[Any], _cfg: object) -> None:
        mcp_app.add_middleware(Failing())
        mcp_app.tool(numbers)
        mcp_app.tool(finding)
        mcp_app.tool(exits)

    server = InProcessServer("s", register, {}, result_bytes=1000, threads=ThreadBudget(1))

    assert call(server, "finding", {"line": 1}) == {"line": 1, "text": "x"}
    with pytest.raises(ToolError, match=r"^s:numbers: Error calling tool 'numbers'$"):
        call(server, "numbers", {"count": 1})
    with pytest.raises(ToolError, match="tried to end the process"):
        call(server, "exits")


def test_two_tools_of_one_name_are_refused() -> None:
    """The second would silently replace the first."""
    with pytest.raises(ValueError, match="already exists"):
        server_of(numbers, numbers)
