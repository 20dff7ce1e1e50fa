"""Sessions as MCP tasks: the extension io.modelcontextprotocol/tasks of protocol 2026-07-28, without a second job system.

A client that declares the extension gets a task in place of submit_session's answer, and follows it by tasks/get, answers by
tasks/update, stops it by tasks/cancel. Everybody else gets the answer itself. What a task is, the store knows: any process
serves any of its requests.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fastmcp.server.context import Context
from fastmcp.server.extensions import MethodBinding, ServerExtension, ToolCallContinuation, ToolCallOutcome
from fastmcp.tools.base import ToolResult
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
    ElicitResult,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, model_serializer

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from orchestrator.contracts.access import Role
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import BatonError, InputError, PhaseRefused, SessionNotFound
from orchestrator.contracts.ids import check_session_id
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.doors import explain
from orchestrator.interfaces.mcp.questions import apply_response
from orchestrator.interfaces.mcp.task_shapes import may_answer, task_shape

EXTENSION: Final = "io.modelcontextprotocol/tasks"
#: The tool whose answer may come as a task.
TOOL: Final = "submit_session"

Wire = ServerRequestContext[Any, Any]

#: Of the protocol; in earlier ones a task is no result, whatever a client declares.
VERSIONS: Final = frozenset(MODERN_PROTOCOL_VERSIONS)


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers to a task's forms, by their keys."""

    input_responses: dict[str, ElicitResult]


class TaskHandle(BaseModel):
    """A task in place of a tool's result. Plain: a null (`ttlMs`) means something here and must reach the client."""

    body: JsonObject

    @model_serializer
    def _plain(self) -> JsonObject:
        return self.body


class Tasks(ServerExtension):
    """The extension over one desk."""

    identifier = EXTENSION

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def methods(self) -> Sequence[MethodBinding]:
        """Serve the three methods of tasks."""
        return (
            self._serve("tasks/get", TaskParams, "viewer", self._get),
            self._serve("tasks/update", UpdateParams, "approver", self._update),
            self._serve("tasks/cancel", TaskParams, "submitter", self._cancel),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, context: Context, call_next: ToolCallContinuation
    ) -> ToolCallOutcome:
        """Answer a submission by a task, where the client knows tasks; the session exists by then."""
        outcome = await call_next()
        if (
            params.name != TOOL
            or not _knows_tasks(context)
            or not isinstance(outcome, ToolResult)
            or outcome.structured_content is None
        ):
            return outcome
        return TaskHandle(body={**await self._show(outcome.structured_content["session_id"]), "resultType": "task"})

    async def _show(self, session_id: str) -> JsonObject:
        desk = self._desk
        return task_shape(await desk.client.show(session_id), desk.find_caller(), desk.client.specs)

    async def _get(self, params: TaskParams) -> JsonObject:
        return await self._show(check_session_id(params.task_id))

    async def _update(self, params: UpdateParams) -> JsonObject:
        desk = self._desk
        record = await desk.client.show(check_session_id(params.task_id))
        asked = record.wait.wait_id if record.wait is not None and may_answer(record, desk.find_caller()) else None
        response = params.input_responses.get(asked) if asked is not None else None
        if response is not None:  # what is asked no more, or of others, is not answered by it
            await apply_response(desk.client, record, response, actor=desk.actor)
        return {}

    async def _cancel(self, params: TaskParams) -> JsonObject:
        desk = self._desk
        try:
            await desk.client.cancel(check_session_id(params.task_id), actor=desk.actor)
        except PhaseRefused:  # settled already: the wish was heard, and there is nothing left to stop
            return {}
        return {}

    def _serve(
        self, method: str, params_type: type[TaskParams], role: Role, act: Callable[[Any], Awaitable[JsonObject]]
    ) -> MethodBinding:
        async def handle(context: Wire, params: TaskParams) -> dict[str, Any]:
            if self.client_settings(context) is None:
                needed: JsonObject = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
                said = f"{method}: the client does not declare {EXTENSION}; declare it with each request"
                raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, said, needed)
            caller = self._desk.find_caller()
            if role not in caller.roles:
                raise MCPError(INVALID_PARAMS, f"{method}: {caller.name} lacks the role {role}; ask an operator for it")
            try:
                return {**await act(params), "resultType": "complete"}
            except BatonError as error:
                code = INVALID_PARAMS if isinstance(error, InputError | SessionNotFound) else INTERNAL_ERROR
                raise MCPError(code, explain(method, error)) from None

        return MethodBinding(
            method=method,
            params_type=params_type,
            handler=handle,
            protocol_versions=VERSIONS,
        )


def _knows_tasks(context: Context) -> bool:
    request = context.request_context
    declared = context.client_extension_settings(EXTENSION) is not None
    return declared and request is not None and request.protocol_version in VERSIONS
