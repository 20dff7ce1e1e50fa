"""Tools about sessions: submit, list, look, wait, signal, cancel, and what happened in one."""

import asyncio
from typing import Annotated, Any, Final

from fastmcp import FastMCP
from pydantic import Field, JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError
from orchestrator.contracts.ids import check_session_id
from orchestrator.contracts.own_keys import check_callers_key
from orchestrator.contracts.phases import SETTLED, Phase
from orchestrator.contracts.session import ASKING, Priority, Record
from orchestrator.interfaces.http import models, shapes
from orchestrator.interfaces.lookups import read_entries
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.shapes import Submission, submission
from orchestrator.operations import Query

LOOK_SECONDS: Final = 0.2
#: Below the time after which clients and proxies give a request up.
MOST_WAIT_SECONDS: Final = 50.0

SessionId = Annotated[str, Field(description="The session's id, such as SES-20261121-001.", max_length=64)]
App = Annotated[str, Field(description="The app's name; see list_apps.", max_length=64)]
Limit = Annotated[int, Field(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str | None, Field(description="`next_cursor` of the page before.", max_length=200)]
Reason = Annotated[str, Field(description="Why, for the journal.", max_length=2_000)]


def register_sessions(server: FastMCP[Any], desk: Desk) -> None:
    """Put the tools on a server."""
    client, operations = desk.client, desk.operations

    @desk.tool(server, "submitter")
    async def submit_session(
        app: App,
        text: Annotated[str, Field(description="What the session shall do, in words.")] = "",
        state: Annotated[dict[str, JsonValue] | None, Field(description="Values for the app's state.")] = None,
        priority: Priority = "normal",
        skill: Annotated[str | None, Field(description="Begin at another skill than the app's own.")] = None,
        idempotency_key: Annotated[
            str | None, Field(description="The same key means the same session, however often it is sent.")
        ] = None,
    ) -> Submission:
        """Submit a session. It runs on its own: follow it with wait_for_session, or as a task where you support them."""
        made = await client.submit(
            app,
            text=text,
            overrides=state,
            actor=desk.actor,
            key=check_callers_key(idempotency_key),
            priority=priority,
            entry_skill=skill,
        )
        return submission(await client.show(made.session_id), created=made.created)

    @desk.tool(server, "viewer")
    async def list_sessions(
        app: Annotated[str, Field(max_length=64)] = "",
        phase: Phase | None = None,
        status: Annotated[str, Field(max_length=200, description="Only ended ones, with this status.")] = "",
        actor: Annotated[str, Field(max_length=200, description="Who submitted them.")] = "",
        text: Annotated[str, Field(max_length=200, description="Looked for in ids and texts.")] = "",
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> models.Sessions:
        """List sessions, newest first. A page may be short and still have a next one, where filters leave many out."""
        if status and phase not in {None, "ended"}:
            raise InputError("list_sessions: only ended sessions have a status; leave out phase")
        bucket = f"ended/{status}" if status else phase or ""
        if ":" in app or ":" in bucket:
            raise InputError("list_sessions: no app and no status has a colon; mend app or status")
        page = await operations.page(
            Query(app=app, bucket=bucket, actor=actor, text=text), before=shapes.read_cursor(cursor), limit=limit
        )
        lines = [shapes.line_shape(record) for record in page.records]
        return models.Sessions.model_validate(
            {
                "sessions": lines,
                "unreadable": shapes.unread_shapes(page),
                "next_cursor": shapes.pack_cursor(page.after),
            }
        )

    @desk.tool(server, "viewer")
    async def get_session(session_id: SessionId) -> models.Session:
        """Return a session: where it is, what it waits for, what it has."""
        return whole(await client.show(check_session_id(session_id)))

    @desk.tool(server, "viewer")
    async def wait_for_session(
        session_id: SessionId,
        seconds: Annotated[float, Field(ge=0, le=MOST_WAIT_SECONDS, description="How long at most.")] = 20.0,
    ) -> models.Session:
        """Return a session once it has ended, is dead, or asks a person; after the time, as it stands then."""
        clock = asyncio.get_running_loop()
        until = clock.time() + seconds
        while True:
            record = await client.show(check_session_id(session_id))
            if record.phase in SETTLED or asks_now(record) or clock.time() >= until:
                return whole(record)
            await asyncio.sleep(min(LOOK_SECONDS, max(until - clock.time(), 0)))

    @desk.tool(server, "viewer")
    async def get_journal(
        session_id: SessionId,
        after: Annotated[int, Field(ge=0, le=10**12, description="Entries with higher numbers.")] = 0,
        limit: Limit = 50,
    ) -> models.Journal:
        """Return what happened in a session, oldest first."""
        return await journal(desk, session_id, after, limit)

    @desk.tool(server, "viewer")
    async def get_context(
        session_id: SessionId, start: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    ) -> models.Messages:
        """Return the messages that a session's models see, from number `start` on."""
        messages = await client.context(check_session_id(session_id), start=start)
        found: list[JsonObject] = [shapes.message_shape(number, one) for number, one in enumerate(messages, start)]
        return models.Messages.model_validate({"messages": found})

    @desk.tool(server, "submitter")
    async def signal_session(
        session_id: SessionId,
        name: Annotated[str, Field(min_length=1, max_length=200, description="The signal's name.")],
        value: JsonValue = None,
    ) -> models.Done:
        """Send a session a named signal, which may be what it waits for."""
        await client.signal(session_id, name, actor=desk.actor, value=value)
        return models.Done(changed=True)

    @desk.tool(server, "submitter", destructive=True)
    async def cancel_session(
        *,
        session_id: SessionId,
        reason: Reason = "",
        immediate: Annotated[bool, Field(description="Do not wait for running tool calls.")] = False,
    ) -> models.Done:
        """Ask a session to stop, and its child sessions too."""
        await client.cancel(session_id, actor=desk.actor, reason=reason, immediate=immediate)
        return models.Done(changed=True)


def asks_now(record: Record) -> bool:
    """Say whether a session waits for a person who has not answered yet."""
    return record.wait is not None and record.wait.kind in ASKING and not record.answered


def whole(record: Record) -> models.Session:
    """Return a session, whole."""
    return models.Session.model_validate({**shapes.session_shape(record), **shapes.line_shape(record)})


async def journal(desk: Desk, session_id: str, after: int, limit: int) -> models.Journal:
    """Return a page of a session's journal; raise SessionNotFound."""
    await desk.client.show(check_session_id(session_id))
    entries = await read_entries(desk.client, session_id, after, limit + 1)
    shown = [shapes.entry_shape(entry) for entry in entries[:limit]]
    more = entries[limit - 1].seq if len(entries) > limit else None
    return models.Journal.model_validate({"entries": shown, "next_after": more})
