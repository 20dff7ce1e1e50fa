"""Tools of operators: dead letters, sending them again; and the apps that are loaded."""

from typing import Annotated, Any

from fastmcp import FastMCP
from pydantic import Field

from orchestrator.contracts.errors import InputError
from orchestrator.interfaces.http import models, shapes
from orchestrator.interfaces.lookups import read_apps
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.sessions import Cursor, Limit, Reason, SessionId
from orchestrator.operations import Query
from orchestrator.replaying import MOST_REPLAYED, choose_letters, send_letters

AppFilter = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]*$")]


def register_operations(server: FastMCP[Any], desk: Desk) -> None:
    """Put the tools on a server."""

    @desk.tool(server, "viewer")
    async def list_apps() -> models.Apps:
        """List the apps that are loaded here, with their sessions by phase."""
        return await apps(desk)

    @desk.tool(server, "viewer")
    async def list_dead_letters(app: AppFilter = "", limit: Limit = 20, cursor: Cursor = None) -> models.DeadLetters:
        """List dead letters, newest first: sessions that spent their attempts or cannot be read."""
        return await dead_letters(desk, app, limit, cursor)

    @desk.tool(server, "operator")
    async def retry_session(session_id: SessionId, note: Reason = "") -> models.Done:
        """Send a dead session again, its failures forgotten."""
        await desk.client.replay([session_id], actor=desk.actor, note=note)
        return models.Done(changed=True)

    @desk.tool(server, "operator")
    async def replay_dead_letters(
        *,
        session_ids: Annotated[list[str] | None, Field(max_length=MOST_REPLAYED, description="Exactly these.")] = None,
        everything: Annotated[bool, Field(description="All there are, or all of an app or a reason.")] = False,
        app: AppFilter = "",
        reason: Annotated[str | None, Field(max_length=200)] = None,
        dry_run: Annotated[bool, Field(description="Only say which.")] = False,
        note: Reason = "",
    ) -> models.Replayed:
        """Send dead letters again: those that are named, or with `everything` all of an app and a reason."""
        if everything == bool(session_ids):
            raise InputError("replay_dead_letters: give session_ids, or everything; one of the two")
        if not everything and (app or reason):
            raise InputError("replay_dead_letters: app and reason go with everything; leave them out")
        chosen = session_ids or await choose_letters(desk.operations, app=app, reason=reason)
        if not dry_run:
            chosen = await send_letters(desk.operations, chosen, actor=desk.actor, note=note, named=not everything)
        return models.Replayed(session_ids=chosen, dry_run=dry_run)


async def apps(desk: Desk) -> models.Apps:
    """Return every app that is loaded here."""
    return models.Apps.model_validate({"apps": await read_apps(desk.operations, list(desk.client.specs))})


async def dead_letters(desk: Desk, app: str, limit: int, cursor: str | None) -> models.DeadLetters:
    """Return a page of dead letters."""
    page = await desk.operations.page(Query(app=app, bucket="dead"), before=shapes.read_cursor(cursor), limit=limit)
    infos = await desk.operations.letters(page.records)
    letters = [shapes.letter_shape(record, info) for record, info in zip(page.records, infos, strict=True)]
    return models.DeadLetters.model_validate(
        {
            "dead_letters": letters,
            "unreadable": shapes.unread_shapes(page),
            "next_cursor": shapes.pack_cursor(page.after),
        }
    )
