"""A session as an MCP task (io.modelcontextprotocol/tasks, SEP-2663): the task's id is the session's.

phase                                       task
ended, cancelled                            cancelled
ended                                       completed: the result of submit_session as the session has ended; an error
where the app calls its status a failure
dead                                        failed: internal error, with the reason
waiting for a person whom the caller may be input_required: one form, its key the wait's id
everything else                             working
"""

from collections.abc import Mapping
from typing import Final

from mcp_types import INTERNAL_ERROR, CallToolResult, TextContent

from orchestrator.contracts.access import Caller
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import Record
from orchestrator.interfaces.cli.shapes import iso
from orchestrator.interfaces.cli.wording import describe_wait
from orchestrator.interfaces.mcp.questions import make_form
from orchestrator.interfaces.mcp.sessions import asks_now
from orchestrator.interfaces.mcp.shapes import submission

#: What a client is asked to wait between looks; well within what one caller may ask for.
POLL_MS: Final = 1_000


def may_answer(record: Record, caller: Caller) -> bool:
    """Say whether a session asks a person now, and the caller may be that person."""
    wait = record.wait
    if wait is None or not asks_now(record) or "approver" not in caller.roles:
        return False
    return not wait.roster or caller.name in wait.roster


def task_shape(record: Record, caller: Caller, specs: Mapping[str, AppSpec]) -> JsonObject:
    """Return a session as the task that a caller sees."""
    task: JsonObject = {
        "taskId": record.session_id,
        "status": "working",
        "statusMessage": record.phase,
        "createdAt": iso(record.created_at),
        "lastUpdatedAt": iso(record.updated_at),
        "ttlMs": None,  # an ended session is read from the archive as before
        "pollIntervalMs": POLL_MS,
    }
    match record.phase:
        case "ended" if record.cursor.stop == "cancelled":
            return task | {"status": "cancelled", "statusMessage": record.reason or "cancelled"}
        case "ended":
            said = record.status or "ended"
            return task | {"status": "completed", "statusMessage": said, "result": _result(record, specs)}
        case "dead":
            said = f"session {record.session_id}: dead ({record.reason}); an operator may send it again"
            return task | {
                "status": "failed",
                "statusMessage": said,
                "error": {"code": INTERNAL_ERROR, "message": said, "data": {"reason": record.reason}},
            }
        case "waiting" if record.wait is not None:
            task["statusMessage"] = f"waits for {describe_wait(record)}"
            if may_answer(record, caller):
                task |= {"status": "input_required", "inputRequests": {record.wait.wait_id: make_form(record.wait)}}
    return task


def _result(record: Record, specs: Mapping[str, AppSpec]) -> JsonObject:
    """Return what submit_session would have answered, had it waited for the end."""
    made = submission(record, created=True)
    spec = specs.get(record.app)
    status = spec.statuses.get(record.status or "") if spec is not None else None
    result = CallToolResult(
        content=[TextContent(type="text", text=made.model_dump_json())],
        structured_content=made.model_dump(mode="json"),
        is_error=status is not None and status.kind == "failure",
    )
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)
