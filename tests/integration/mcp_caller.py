"""Clients of the official SDK for Baton's MCP server: over standard input and output, and over HTTP."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, EmptyResult, Request, RequestParams, Result, TextContent

COMMAND = ("-P", "-m", "orchestrator.interfaces.cli.main", "mcp")


def stdio(env: Mapping[str, str], *args: str, **more: Any) -> Client:
    """Return a client of `baton mcp`, which it starts."""
    return Client(
        StdioServerParameters(command=sys.executable, args=[*COMMAND, *args], env=dict(env)),
        read_timeout_seconds=60,
        **more,
    )


@asynccontextmanager
async def over_http(base: str, headers: Mapping[str, str] | None = None, **more: Any) -> AsyncIterator[Client]:
    """Lend a client of /mcp."""
    async with httpx2.AsyncClient(headers=dict(headers or {}), timeout=60, trust_env=False) as http:
        transport = streamable_http_client(f"{base}/mcp", http_client=http)
        async with Client(transport, read_timeout_seconds=60, **more) as client:
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


class Task(Result):
    """A task as the server sends it: in place of a tool's result, or as the answer to tasks/get."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    status_message: str = ""
    ttl_ms: int | None
    poll_interval_ms: int


class TaskState(Task):
    """The answer to tasks/get."""

    result_type: Literal["complete"] = "complete"  # type: ignore[assignment]
    input_requests: dict[str, Any] = {}
    result: CallToolResult | None = None
    error: dict[str, Any] | None = None


class TaskParams(RequestParams):
    """Names a task, and answers what it asks."""

    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(Request[TaskParams, str]):
    """A request about a task."""

    name_param = "taskId"


class TasksClient(ClientExtension):
    """Knows tasks, and follows one to its end: `answer` gives a form's content, `between` happens between two looks."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        between: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self.answer, self.between = answer, between
        self.seen: list[str] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """Take a task in place of a tool's result."""
        return (ResultClaim(result_type="task", model=Task, resolve=self._resolve),)

    async def _resolve(self, task: Task, ctx: ClaimContext) -> CallToolResult:
        for _ in range(50):
            now = await ask(ctx.session, "tasks/get", task.task_id)
            self.seen.append(now.status)
            if now.status == "completed":
                assert now.result is not None
                return now.result
            if now.status == "input_required" and self.answer is not None:
                answers = {key: self.answer(form["params"]) for key, form in now.input_requests.items()}
                await ask(ctx.session, "tasks/update", task.task_id, answers)
            if now.status in {"failed", "cancelled"}:
                return CallToolResult(content=[TextContent(type="text", text=now.status_message)], is_error=True)
            assert self.between is not None
            await self.between(task.task_id)
        raise AssertionError(f"{task.task_id} does not end: {self.seen}")


async def ask(session: ClientSession, method: str, task_id: str, answers: dict[str, Any] | None = None) -> Any:
    """Make a request about a task."""
    params = TaskParams(task_id=task_id, input_responses=answers)
    wanted = TaskState if method == "tasks/get" else EmptyResult
    return await session.send_request(TaskRequest(method=method, params=params), wanted)
