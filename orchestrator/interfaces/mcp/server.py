"""The MCP server: tools, resources and the tasks extension over one desk."""

from typing import Any, Final

from fastmcp import FastMCP

from orchestrator import __version__
from orchestrator.interfaces.mcp.answers import register_answers
from orchestrator.interfaces.mcp.desk import Desk
from orchestrator.interfaces.mcp.doors import Doors
from orchestrator.interfaces.mcp.operate import register_operations
from orchestrator.interfaces.mcp.resources import register_resources
from orchestrator.interfaces.mcp.sessions import register_sessions
from orchestrator.interfaces.mcp.tasks import Tasks

INSTRUCTIONS: Final = (
    "Baton runs durable sessions of apps. Submit one with submit_session and follow it with wait_for_session. A session whose "
    "`wait` asks a person goes on once that is answered: approve or deny an approval, answer everything else, each with the "
    "wait_id that was looked at. Show people the exact arguments of a call before they allow it."
)


def build_server(desk: Desk) -> FastMCP[Any]:
    """Return a server for one event loop; it closes nothing, for it has opened nothing."""
    server: FastMCP[Any] = FastMCP(
        "baton",
        instructions=INSTRUCTIONS,
        version=__version__,
        middleware=[Doors(desk)],
        mask_error_details=True,
        on_duplicate="error",
    )
    register_sessions(server, desk)
    register_answers(server, desk)
    register_operations(server, desk)
    register_resources(server, desk)
    server.add_extension(Tasks(desk))
    return server
