"""`baton mcp`: serve MCP on standard input and output, for an agent on this machine."""

import asyncio
from typing import cast

import click

from orchestrator.contracts.access import ROLES, Caller, Role, expand_roles
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import actor_option


@click.command("mcp")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    help="What may be done; may be given again. Default: operator, which is everything.",
)
@actor_option
def mcp_command(*, roles: tuple[str, ...], actor: str) -> int:
    """Serve MCP on standard input and output.

    For an agent that starts it by itself: it ends with its input. What is done is done as you, or as --as; tools that
    the roles do not allow are not offered. `baton api` serves the same to others, at /mcp.
    """
    from orchestrator.interfaces.cli.connect import configure_process, find_store, load_specs, make_client

    configure_process("mcp")
    specs = load_specs()
    url = find_store().url
    given = cast("tuple[Role, ...]", roles) or ("operator",)
    caller = Caller(name=actor, roles=expand_roles(given), way="open")

    async def run() -> None:
        from orchestrator.interfaces.mcp.desk import Desk
        from orchestrator.interfaces.mcp.server import build_server
        from orchestrator.operations import Operations

        client = make_client(url, specs)
        try:
            server = build_server(Desk(Operations(client), lambda: caller))
            await server.run_stdio_async(show_banner=False)
        finally:
            await client.aclose()

    asyncio.run(run())
    return OK
