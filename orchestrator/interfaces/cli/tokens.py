"""`baton tokens`: bearer tokens of the HTTP API. A secret is printed once, when it is made, and kept nowhere."""

from typing import TYPE_CHECKING

import click

from orchestrator.contracts.access import ROLES, Role, Token
from orchestrator.contracts.base import JsonObject
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option, parse_duration
from orchestrator.interfaces.cli.output import make_table, print_json, print_table
from orchestrator.interfaces.cli.shapes import iso

if TYPE_CHECKING:
    from orchestrator.client import Client


@click.group("tokens")
def tokens_command() -> None:
    """Make, list and revoke tokens of the HTTP API."""


@tokens_command.command("new")
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="Repeat it for more.")
@click.option("--expires", type=parse_duration, metavar="DURATION", help="When it stops to open anything: 12h, 90d.")
@dry_run_option
@actor_option
@output_option
def new_command(
    *, name: str, roles: tuple[Role, ...], expires: float | None, dry_run: bool, actor: str, form: Form
) -> int:
    """Make a token and print its secret, this once.

    NAME is the actor of everything that is done with it. viewer looks, submitter submits and cancels, approver
    decides and answers, operator does everything; all may look.
    """
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.operations import Operations

    async def work(client: "Client") -> tuple[str, Token]:
        return await Operations(client).make_token(name, roles, actor=actor, seconds=expires, dry_run=dry_run)

    secret, token = with_client(work)
    if form == "json":
        print_json("token", {**_shape(token), "secret": secret or None, "dry_run": dry_run})
        return OK
    if dry_run:
        click.echo(f"{name}: would be made, {', '.join(token.roles)}, as {actor}")
        return OK
    click.echo(secret)
    click.echo(f"{name}: {', '.join(token.roles)}; it is not shown again", err=True)
    return OK


@tokens_command.command("list")
@output_option
def list_command(*, form: Form) -> int:
    """List tokens: names and roles, no secrets."""
    from orchestrator.interfaces.cli.connect import settings, with_client
    from orchestrator.operations import Operations
    from orchestrator.token_file import load_tokens

    async def work(client: "Client") -> list[Token]:
        return await Operations(client).tokens.every()

    found = with_client(work)
    file = settings().api.tokens_file
    if file:
        from pathlib import Path

        found += load_tokens(Path(file).expanduser())
    if form == "json":
        print_json("tokens", [_shape(token) for token in found])
        return OK
    table = make_table("NAME", "ROLES", "KEPT IN", "MADE", "BY", "EXPIRES")
    for token in found:
        made, ends = iso(token.created_at) or "-", iso(token.expires_at or 0) or "never"
        table.add_row(token.name, ",".join(token.roles), token.source, made, token.created_by or "-", ends)
    print_table(table, empty="no tokens; make one with `baton tokens new NAME --role viewer`")
    return OK


@tokens_command.command("revoke")
@click.argument("name")
@dry_run_option
@actor_option
@output_option
def revoke_command(*, name: str, dry_run: bool, actor: str, form: Form) -> int:
    """Revoke a token of the store: from now on it opens nothing."""
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.operations import Operations

    async def work(client: "Client") -> None:
        await Operations(client).revoke_token(name, actor=actor, dry_run=dry_run)

    with_client(work)
    if form == "json":
        print_json("revoked", {"name": name, "actor": actor, "dry_run": dry_run})
    else:
        click.echo(f"{name}: {'would be ' if dry_run else ''}revoked")
    return OK


def _shape(token: Token) -> JsonObject:
    return {
        "name": token.name,
        "roles": list(token.roles),
        "source": token.source,
        "created_at": iso(token.created_at),
        "created_by": token.created_by or None,
        "expires_at": iso(token.expires_at or 0),
    }
