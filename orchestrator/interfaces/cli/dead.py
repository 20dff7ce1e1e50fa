"""`baton dead` and `baton retry`: sessions whose attempts are spent, or that could not be read.

Replaying puts a session back in line where it stopped, its failures forgotten. Mend the cause first.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError, PhaseRefused, SessionNotFound, Unreadable
from orchestrator.contracts.ids import check_session_id
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option, session_argument
from orchestrator.interfaces.cli.output import clean, make_table, many, one_line, print_json, print_table
from orchestrator.interfaces.cli.progress import show_progress

if TYPE_CHECKING:
    from orchestrator.client import Client

#: What one command replays at most.
MOST: int = 10_000


@click.group("dead")
def dead_command() -> None:
    """Look at dead letters and replay them."""


@dead_command.command("list")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True)
@output_option
def list_command(*, limit: int, form: Form) -> int:
    """List dead letters, newest first."""
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.wording import describe_age

    found = with_client(lambda client: client.dead_letters(limit=limit))
    if form == "json":
        print_json("dead_letters", [letter_shape(session_id, info) for session_id, info in found])
        return OK
    table = make_table("SESSION", "REASON", "ERROR", "ATTEMPTS", "SINCE", "DETAIL")
    for session_id, info in found:
        since = describe_age(int(str(info.get("at", 0))))
        detail = one_line(next(iter(str(info.get("detail", "")).splitlines()), ""), 100)
        reason, error, attempts = (str(info.get(name, "-")) for name in ("reason", "error", "attempts"))
        table.add_row(session_id, reason, error, attempts, since, detail)
    print_table(table, empty="no dead letters")
    return OK


@dead_command.command("show")
@session_argument
@output_option
def show_command(*, session_id: str, form: Form) -> int:
    """Show a dead letter whole: reason, error, where it stopped."""
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.wording import moment

    async def work(client: "Client") -> tuple[JsonObject, str]:
        record = await client.show(session_id)
        if record.phase != "dead":
            raise PhaseRefused(f"session {session_id}: it is {record.phase}, not a dead letter; see `baton show`")
        # The letter's own line holds the detail; the record knows where it stopped.
        for one, info in await client.dead_letters(limit=MOST):
            if one == session_id:
                return info, record.cursor.skill
        told: JsonObject = {"reason": record.reason, "at": record.updated_at, "attempts": record.attempts}
        if record.failure is not None:
            told |= {"error": record.failure.error, "failure": record.failure.to_data()}
        return told, record.cursor.skill

    info, skill = with_client(work)
    shape = {**letter_shape(session_id, info), "skill": skill}
    if form == "json":
        print_json("dead_letter", shape)
        return OK
    error = shape["error"]
    click.echo(
        f"{session_id}: {shape['reason']}{f' ({error})' if error else ''}, in {skill}, after {many(int(str(shape['attempts'] or 0)), 'attempt')}, "
        f"{moment(int(str(info.get('at', 0))))}"
    )
    for line in clean(str(shape["detail"])).splitlines():
        click.echo(f"  {line}")
    click.echo(f"mend the cause, then: baton retry {session_id}")
    return OK


@dead_command.command("replay")
@click.argument("session_ids", metavar="[ID]...", nargs=-1, type=check_session_id)
@click.option("--all", "everything", is_flag=True, help="Every dead letter there is.")
@click.option("--reason", "only", metavar="WORD", help="With --all: only those that died of this.")
@click.option("--note", default="", help="Kept in the journal.")
@dry_run_option
@actor_option
@output_option
def replay_command(
    *,
    session_ids: tuple[str, ...],
    everything: bool,
    only: str | None,
    note: str,
    dry_run: bool,
    actor: str,
    form: Form,
) -> int:
    """Send dead letters again."""
    if bool(session_ids) == everything:
        raise InputError("dead replay: give ids, or --all; `baton dead list` shows them")
    if only is not None and not everything:
        raise InputError("option --reason: it goes with --all; add that")
    return _replay(session_ids, only=only, note=note, dry_run=dry_run, actor=actor, form=form)


@click.command("retry")
@session_argument
@click.option("--note", default="", help="Kept in the journal.")
@dry_run_option
@actor_option
@output_option
def retry_command(*, session_id: str, note: str, dry_run: bool, actor: str, form: Form) -> int:
    """Send a dead session again."""
    return _replay((session_id,), only=None, note=note, dry_run=dry_run, actor=actor, form=form)


def _replay(session_ids: tuple[str, ...], *, only: str | None, note: str, dry_run: bool, actor: str, form: Form) -> int:
    from orchestrator.interfaces.cli.connect import with_client

    async def work(client: "Client") -> tuple[list[str], list[str]]:
        chosen = list(dict.fromkeys(session_ids))
        if not chosen:
            letters = await client.dead_letters(limit=MOST)
            return await _replay_all(
                client,
                [one for one, info in letters if only is None or info.get("reason") == only],
                note=note,
                dry_run=dry_run,
                actor=actor,
                form=form,
            )
        # Looked at before the first is sent: of a list with a wrong id, none is.
        for session_id in chosen:
            record = await client.show(session_id)
            if record.phase != "dead":
                raise PhaseRefused(
                    f"session {session_id}: it is {record.phase}, not a dead letter; nothing was replayed"
                )
        with show_progress("sending again", len(chosen), form) as progress:
            for session_id in chosen if not dry_run else ():
                await client.replay([session_id], actor=actor, note=note)
                progress.step()
        return chosen, []

    chosen, left_out = with_client(work)
    for line in left_out:
        click.echo(f"baton: left out: {line}", err=True)
    if form == "json":
        print_json("replayed", {"session_ids": list(chosen), "dry_run": dry_run, "actor": actor, "note": note})
    elif not chosen:
        click.echo(
            "no dead letters" if only is None else f"no dead letter of the reason {only!r}; see `baton dead list`"
        )
    else:
        for session_id in chosen:
            click.echo(f"{session_id}: {'would be' if dry_run else 'was'} sent again")
    return OK


async def _replay_all(
    client: "Client", letters: Sequence[str], *, note: str, dry_run: bool, actor: str, form: Form
) -> tuple[list[str], list[str]]:
    """Send what nobody named; one that cannot be read, or is dead no more, holds up no other. Return also why those were not."""
    sent: list[str] = []
    left_out: list[str] = []
    with show_progress("sending again", len(letters), form) as progress:
        for session_id in letters:
            try:
                record = await client.show(session_id)
                if record.phase == "dead" and not dry_run:
                    await client.replay([session_id], actor=actor, note=note)
            except (PhaseRefused, SessionNotFound, Unreadable) as error:
                left_out.append(str(error))
            else:
                if record.phase == "dead":
                    sent.append(session_id)
            progress.step()
    return sent, left_out


def letter_shape(session_id: str, info: JsonObject) -> JsonObject:
    """Return a dead letter as JSON prints it."""
    from orchestrator.contracts.failures import FailureRecord
    from orchestrator.interfaces.cli.shapes import failure_shape, iso

    failure = info.get("failure")
    return {
        "session_id": session_id,
        "reason": info.get("reason"),
        "detail": info.get("detail", ""),
        "error": info.get("error"),
        "failure": failure_shape(FailureRecord.model_validate(failure)) if failure else None,
        "attempts": info.get("attempts"),
        "at": iso(int(str(info.get("at", 0)))),
    }
