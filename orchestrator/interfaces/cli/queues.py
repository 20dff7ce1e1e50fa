"""`baton queues`, `pause` and `unpause`: what stands in line, and what shall stay there for now."""

from typing import TYPE_CHECKING

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option
from orchestrator.interfaces.cli.output import make_table, print_json, print_table
from orchestrator.interfaces.cli.shapes import iso

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.operations import Line, Pause


@click.command("queues")
@output_option
def queues_command(*, form: Form) -> int:
    """Show the queues: what stands in line, since when, what runs, what is paused."""
    from orchestrator.interfaces.cli.connect import settings, with_client
    from orchestrator.interfaces.cli.wording import describe_age
    from orchestrator.operations import Operations

    names = settings().queues

    async def work(client: "Client") -> "tuple[list[Line], list[Pause]]":
        told = {"steps": names.steps, "plugins": names.plugins, "finalize": names.finalize}
        operations = Operations(client, queue_names=told)
        return await operations.lines(), await operations.pauses()

    lines, pauses = with_client(work)
    if form == "json":
        shapes: list[JsonObject] = [
            {
                "queue": line.queue,
                "in_line": line.in_line,
                "oldest_at": iso(line.oldest_at or 0),
                "running": line.running,
                "slots": line.slots,
                "workers": line.workers,
                "paused": line.is_paused,
            }
            for line in lines
        ]
        paused = [{"target": p.target, "at": iso(p.at), "actor": p.actor, "reason": p.reason} for p in pauses]
        print_json("queues", {"queues": shapes, "pauses": paused})
        return OK
    table = make_table("QUEUE", "IN LINE", "OLDEST", "RUNNING", "SLOTS", "WORKERS", "")
    for line in lines:
        oldest = describe_age(line.oldest_at) if line.oldest_at is not None else "-"
        numbers = (str(line.in_line), oldest, str(line.running), str(line.slots), str(line.workers))
        table.add_row(line.queue, *numbers, "paused" if line.is_paused else "")
    print_table(table)
    for pause in pauses:
        why = f": {pause.reason}" if pause.reason else ""
        click.echo(f"paused: {pause.target}, by {pause.actor}, {describe_age(pause.at)} ago{why}")
    return OK


@click.command("pause")
@click.argument("target", metavar="QUEUE|app:NAME")
@click.option("--reason", default="", help="Kept in the operators' log.")
@dry_run_option
@actor_option
@output_option
def pause_command(*, target: str, reason: str, dry_run: bool, actor: str, form: Form) -> int:
    """Wake nothing new of a queue or an app.

    TARGET is steps, plugins, finalize, or app:NAME. What runs comes to the end of its step; what is submitted waits in line.
    """
    return _change(target, paused=True, reason=reason, dry_run=dry_run, actor=actor, form=form)


@click.command("unpause")
@click.argument("target", metavar="QUEUE|app:NAME")
@dry_run_option
@actor_option
@output_option
def unpause_command(*, target: str, dry_run: bool, actor: str, form: Form) -> int:
    """Let a paused queue or app go on."""
    return _change(target, paused=False, reason="", dry_run=dry_run, actor=actor, form=form)


def _change(target: str, *, paused: bool, reason: str, dry_run: bool, actor: str, form: Form) -> int:
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.operations import Operations

    full = target if ":" in target else f"queue:{target}"
    if not full.partition(":")[2]:
        raise InputError(f"target {target!r}: it names nothing; write steps, plugins, finalize, or app:NAME")

    async def work(client: "Client") -> tuple[bool, int]:
        operations = Operations(client)
        await operations.check_target(full)
        kind, _, name = full.partition(":")
        affected = sum(
            one.count
            for one in await operations.groups()
            if one.queue is not None and (one.app == name if kind == "app" else one.queue == name)
        )
        was = full in {one.target for one in await operations.pauses()}
        if dry_run:
            return was != paused, affected
        change = operations.pause(full, actor=actor, reason=reason) if paused else operations.unpause(full, actor=actor)
        return await change, affected

    changed, affected = with_client(work, needs_apps=True)
    if form == "json":
        body: JsonObject = {
            "target": full,
            "paused": paused,
            "changed": changed,
            "in_line": affected,
            "actor": actor,
            "dry_run": dry_run,
        }
        print_json("pause", body)
        return OK
    done = "paused" if paused else "goes on"
    wish = "would be paused" if paused else "would go on"
    already = "paused already" if paused else "not paused"
    told = (wish if dry_run else done) if changed else f"nothing to do, it is {already}"
    undo = f"; `baton unpause {target}` lets it go on" if paused and not dry_run else ""
    click.echo(f"{full}: {told}; {affected} in line{undo}")
    return OK
