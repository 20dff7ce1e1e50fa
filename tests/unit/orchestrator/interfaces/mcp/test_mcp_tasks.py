"""A session as a task, and what it asks as a form: pure shapes."""

from typing import Any

import pytest

from orchestrator.contracts.access import Caller, Role, expand_roles
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import Cursor, PendingCall, Record, Wait
from orchestrator.interfaces.mcp.questions import make_form
from orchestrator.interfaces.mcp.task_shapes import task_shape

CALL = PendingCall(call_id="c", tool="hands:give", args={"cents": 5})


def record_of(phase: str, **more: Any) -> Record:
    """Return a session."""
    cursor = more.pop("cursor", Cursor(skill="one"))
    return Record(session_id="SES-20261121-001", app="a", spec="s", phase=phase, cursor=cursor, **more)  # type: ignore[arg-type]


def caller(*roles: Role, name: str = "ada") -> Caller:
    """Return who asks."""
    return Caller(name=name, roles=expand_roles(roles), way="token")


APPROVAL = Wait(wait_id="w", kind="approval", prompt="May it?", call=CALL, roster=("ada",))


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (record_of("ready"), "working"),
        (record_of("running"), "working"),
        (record_of("waiting", wait=Wait(wait_id="w", kind="timer")), "working"),
        (record_of("waiting", wait=APPROVAL), "input_required"),
        (record_of("waiting", wait=APPROVAL, answered=True), "working"),
        (record_of("finalizing"), "working"),
        (record_of("ended", status="done"), "completed"),
        (record_of("ended", status="done", cursor=Cursor(skill="one", stop="cancelled")), "cancelled"),
        (record_of("dead", reason="attempts"), "failed"),
    ],
)
def test_every_phase_is_a_status_of_a_task(record: Record, status: str) -> None:
    """A client that only knows tasks must never meet a session that it cannot read."""
    task = task_shape(record, caller("operator"), {})

    assert (task["taskId"], task["status"]) == ("SES-20261121-001", status)
    assert "ttlMs" in task
    assert ("inputRequests" in task, "result" in task, "error" in task) == (
        status == "input_required",
        status == "completed",
        status == "failed",
    )


@pytest.mark.parametrize("who", [caller("submitter"), caller("viewer"), caller("approver", name="mallory")])
def test_who_may_not_answer_is_not_asked(who: Caller) -> None:
    """A form that is refused when it comes back wastes a person's time."""
    task = task_shape(record_of("waiting", wait=APPROVAL), who, {})

    assert task["status"] == "working"
    assert "hands:give" in str(task["statusMessage"])


@pytest.mark.parametrize(
    ("wait", "fields", "required"),
    [
        (APPROVAL, ["decision", "reason"], ["decision"]),
        (Wait(wait_id="w", kind="uncertain", options=("retry", "failed")), ["verdict", "note"], ["verdict"]),
        (Wait(wait_id="w", kind="input", gate=True, options=("stop",)), ["action", "text"], ["action"]),
        (
            Wait(wait_id="w", kind="input", gate=True, options=("escalate", "stop"), teams=("night",)),
            ["action", "text", "team"],
            ["action"],
        ),
        (
            Wait(
                wait_id="w",
                kind="input",
                prompt_id="p",
                fields=(PromptField(id="n", type="integer", default=1), PromptField(id="m", type="boolean")),
            ),
            ["n", "m"],
            ["m"],
        ),
        (Wait(wait_id="w", kind="input"), ["answer"], ["answer"]),
    ],
)
def test_every_question_is_a_flat_form(wait: Wait, fields: list[str], required: list[str]) -> None:
    """MCP's forms hold single values; anything nested is shown by no client."""
    params: Any = make_form(wait)["params"]

    schema = params["requestedSchema"]
    assert params["message"]
    assert (list(schema["properties"]), schema["required"]) == (fields, required)
    assert all(one["type"] in {"string", "integer", "number", "boolean"} for one in schema["properties"].values())


def test_an_approval_shows_the_exact_arguments() -> None:
    """Nobody can allow what they do not see."""
    assert 'hands:give {"cents":5}' in str(make_form(APPROVAL))
