"""`baton api`: serve the HTTP API, in the foreground, until SIGTERM or Ctrl-C."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import Form, check_actor, find_actor, output_option
from orchestrator.interfaces.cli.output import print_json

if TYPE_CHECKING:
    import socket

    from orchestrator.client import Client
    from orchestrator.settings import Settings


@click.command("api")
@click.option("--host", help="The address. Default: api.host (127.0.0.1). Beyond loopback only with credentials.")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port. Default: api.port (8080); 0 takes a free one.")
@click.option(
    "--as",
    "actor",
    metavar="NAME",
    envvar="BATON_ACTOR",
    callback=check_actor,
    help="Who asks, where nobody has to say who they are.  [env: BATON_ACTOR; default: your user name]",
)
@output_option
def api_command(*, host: str | None, port: int | None, actor: str | None, form: Form) -> int:
    """Serve the HTTP API.

    Without a token in the store or in api.tokens_file, and without api.oidc_issuer, it serves this machine alone,
    and whoever asks is who --as says. It also delivers webhooks, and serves MCP at /mcp. `baton up` need not run here:
    any number of it may serve one store.
    """
    from orchestrator.interfaces.cli.connect import configure_process, find_store, load_specs, make_client, settings
    from orchestrator.wiring import wait_for_store

    configured = settings()
    configure_process("api", loggers={"uvicorn": "WARNING"})
    specs = load_specs()
    url = find_store().url

    async def run() -> int:
        await wait_for_store(url)
        client = make_client(url, specs)
        try:
            return await _serve(client, configured, host or configured.api.host, port, actor, form)
        finally:
            await client.aclose()

    return asyncio.run(run())


async def _serve(
    client: "Client", settings: "Settings", host: str, port: int | None, actor: str | None, form: Form
) -> int:
    from orchestrator.interfaces.http.app import build_app
    from orchestrator.interfaces.http.server import bind, check_binding, make_server
    from orchestrator.operations import Operations

    api = settings.api
    has_credentials = bool(api.tokens_file or api.oidc_issuer) or await Operations(client).tokens.any()
    check_binding(host, has_credentials=has_credentials)
    # A user may have no name, in a container: only an open door needs one.
    open_actor = None if has_credentials else actor or find_actor()
    app = build_app(client, settings, open_actor=open_actor)
    if api.mcp:
        from orchestrator.interfaces.mcp.mount import mount_mcp

        mount_mcp(app)
    listening = bind(host, api.port if port is None else port)
    try:
        _say(listening, form, open_actor=open_actor)
        server = make_server(app, api)
        await server.serve(sockets=[listening])
    finally:
        listening.close()
    return OK if server.started else FAILED


def _say(listening: "socket.socket", form: Form, *, open_actor: str | None) -> None:
    address, port = listening.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    if form == "json":
        print_json("api", {"url": url, "open": open_actor is not None, "actor": open_actor}, as_line=True)
    else:
        how = "bearer tokens" if open_actor is None else f"no tokens: this machine alone, as {open_actor}"
        click.echo(f"baton api: {url} ({how}); Ctrl-C to stop")
    sys.stdout.flush()
