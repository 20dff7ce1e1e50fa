"""Resources: sessions, journals, the inbox, dead letters and apps, as JSON under `baton://`. Whoever may look may read them."""

from typing import Any, Final

from fastmcp import FastMCP

from orchestrator.contracts.base import dump_json
from orchestrator.contracts.ids import check_session_id
from orchestrator.interfaces.mcp.answers import inbox
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.operate import apps, dead_letters
from orchestrator.interfaces.mcp.sessions import journal, whole

#: Of lists and journals; the tools turn pages.
MOST: Final = 200

_JSON: Final = "application/json"


def register_resources(server: FastMCP[Any], desk: Desk) -> None:
    """Put the resources on a server."""

    @server.resource("baton://apps", mime_type=_JSON)
    async def loaded_apps() -> str:
        """The apps that are loaded here, with their sessions by phase."""
        return (await apps(desk)).model_dump_json()

    @server.resource("baton://approvals", mime_type=_JSON)
    async def waiting_for_people() -> str:
        """What waits for people, newest first."""
        return (await inbox(desk, "", MOST, None)).model_dump_json()

    @server.resource("baton://dead-letters", mime_type=_JSON)
    async def newest_dead_letters() -> str:
        """Dead letters, newest first."""
        return (await dead_letters(desk, "", MOST, None)).model_dump_json()

    @server.resource("baton://sessions/{session_id}", mime_type=_JSON)
    async def session(session_id: str) -> str:
        """A session: where it is, what it waits for, what it has."""
        return whole(await desk.client.show(check_session_id(session_id))).model_dump_json()

    @server.resource("baton://sessions/{session_id}/state", mime_type=_JSON)
    async def session_state(session_id: str) -> str:
        """A session's state."""
        return dump_json((await desk.client.show(check_session_id(session_id))).state)

    @server.resource("baton://sessions/{session_id}/journal", mime_type=_JSON)
    async def session_journal(session_id: str) -> str:
        """What happened in a session, from its beginning."""
        return (await journal(desk, session_id, 0, MOST)).model_dump_json()
