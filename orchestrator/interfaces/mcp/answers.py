"""Tools by which people decide and answer: the inbox, approve, deny, answer."""

from typing import Annotated, Any

from fastmcp import FastMCP
from pydantic import Field, JsonValue

from orchestrator.interfaces.http import models, shapes
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.sessions import Cursor, Limit, Reason, SessionId
from orchestrator.operations import ASKS, Query

WaitId = Annotated[
    str,
    Field(
        description="`wait.wait_id` as it was looked at: what the session asks by now is not answered by it.",
        max_length=200,
    ),
]


def register_answers(server: FastMCP[Any], desk: Desk) -> None:
    """Put the tools on a server."""
    client = desk.client

    @desk.tool(server, "viewer")
    async def list_approvals(
        app: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]*$")] = "",
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> models.Approvals:
        """List what waits for people: approvals with the exact arguments, questions, uncertain calls."""
        return await inbox(desk, app, limit, cursor)

    @desk.tool(server, "approver", destructive=True)
    async def approve(
        *,
        session_id: SessionId,
        wait_id: WaitId,
        reason: Reason = "",
        always: Annotated[bool, Field(description="Do not ask again about this very call in this session.")] = False,
    ) -> models.Done:
        """Allow the call that a session asks about, with exactly the arguments that it shows."""
        await client.decide(session_id, allow=True, actor=desk.actor, reason=reason, wait_id=wait_id, always=always)
        return models.Done(changed=True)

    @desk.tool(server, "approver")
    async def deny(session_id: SessionId, wait_id: WaitId, reason: Reason = "") -> models.Done:
        """Refuse the call that a session asks about."""
        await client.decide(session_id, allow=False, actor=desk.actor, reason=reason, wait_id=wait_id)
        return models.Done(changed=True)

    @desk.tool(server, "approver")
    async def answer(
        session_id: SessionId,
        wait_id: WaitId,
        text: Annotated[str, Field(description="The answer to a question, or what to go on with.")] = "",
        value: Annotated[
            JsonValue, Field(description="The answer as JSON; for `wait.fields` an object of them.")
        ] = None,
        verdict: Annotated[
            str | None,
            Field(
                max_length=200,
                description="One of `wait.options`: retry, happened, failed; resume_with_input, escalate, stop.",
            ),
        ] = None,
        team: Annotated[str | None, Field(max_length=200, description="To whom, with escalate.")] = None,
    ) -> models.Done:
        """Answer a question, a gate, what a tool or plugin asks, or an uncertain call."""
        await client.answer(
            session_id, actor=desk.actor, text=text, value=value, verdict=verdict, team=team, wait_id=wait_id
        )
        return models.Done(changed=True)


async def inbox(desk: Desk, app: str, limit: int, cursor: str | None) -> models.Approvals:
    """Return a page of what waits for people."""
    page = await desk.operations.page(Query(app=app, bucket=ASKS), before=shapes.read_cursor(cursor), limit=limit)
    found = [shapes.waiting_shape(record) for record in page.records]
    return models.Approvals.model_validate(
        {
            "approvals": found,
            "unreadable": shapes.unread_shapes(page),
            "next_cursor": shapes.pack_cursor(page.after),
        }
    )
