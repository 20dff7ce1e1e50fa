"""`baton redis start|stop|status`: the bundled server of the state folder, without workers."""

from typing import TYPE_CHECKING

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import Form, dry_run_option, output_option
from orchestrator.interfaces.cli.output import print_json

if TYPE_CHECKING:
    from orchestrator.embedded import RunningServer


@click.group("redis")
def redis_command() -> None:
    """Start, stop or look at the bundled server."""


@redis_command.command("start")
@dry_run_option
@output_option
def start_command(*, dry_run: bool, form: Form) -> int:
    """Start the bundled server of the state folder, where it does not run yet."""
    from orchestrator import embedded
    from orchestrator.interfaces.cli.connect import server_dir

    if dry_run:
        found = embedded.status(server_dir())
        line = "runs already" if found.server is not None else f"would be started on {server_dir()}"
        return _tell(found.state, found.server, line, form)
    server = embedded.start(server_dir())
    word = "started" if server.is_new else "runs already"
    return _tell("running", server, f"server {server.version}, pid {server.pid}: {word}\n  {server.url}", form)


@redis_command.command("stop")
@dry_run_option
@output_option
def stop_command(*, dry_run: bool, form: Form) -> int:
    """Stop it. What was acknowledged stays on disk."""
    from orchestrator import embedded
    from orchestrator.interfaces.cli.connect import server_dir, state_dir
    from orchestrator.interfaces.cli.stack import find_owner

    owner = find_owner(state_dir())
    if owner is not None:
        raise InputError(f"redis stop: `baton up` (pid {owner}) uses it; stop that instead, with Ctrl-C or SIGTERM")
    if dry_run:
        found = embedded.status(server_dir())
        line = (
            "no server runs"
            if found.server is None
            else f"server {found.server.version}, pid {found.server.pid}: would be stopped"
        )
        return _tell(found.state, found.server, line, form)
    stopped = embedded.stop(server_dir())
    return _tell("stopped", None, "stopped" if stopped else "no server runs", form)


@redis_command.command("status")
@output_option
def status_command(*, form: Form) -> int:
    """Say whether it runs, and where."""
    from orchestrator import embedded
    from orchestrator.interfaces.cli.connect import server_dir

    found = embedded.status(server_dir())
    line = f"{found.state} ({server_dir()})"
    if found.server is not None:
        server = found.server
        line = f"running: server {server.version}, pid {server.pid}, {server.state_dir}\n  {server.url}"
    _tell(found.state, found.server, line, form)
    return OK if found.state == "running" else FAILED


def _tell(state: str, server: "RunningServer | None", line: str, form: Form) -> int:
    if form == "json":
        body: JsonObject = {
            "state": state,
            "url": None,
            "broker_url": None,
            "pid": None,
            "version": None,
            "folder": None,
        }
        if server is not None:
            body |= {
                "url": server.url,
                "broker_url": server.broker_url,
                "pid": server.pid,
                "version": server.version,
                "folder": str(server.state_dir),
            }
        print_json("server", body)
    else:
        click.echo(line)
    return OK
