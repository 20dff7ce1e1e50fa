"""`baton fork` and `baton replay`: begin a session where another one stood, and go through a journal again.

Neither changes the session that is named. Sending a dead letter again is another thing: `baton retry`.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError
from orchestrator.contracts.ids import check_session_id
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option, session_argument
from orchestrator.interfaces.cli.output import compact, many, one_line, print_json
from orchestrator.interfaces.cli.progress import show_progress

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.contracts.session import Record
    from orchestrator.verification import Verified

#: Differences of one session that are printed for people; `-o json` has all.
SHOWN: Final = 40


@click.command("fork")
@session_argument
@click.option(
    "--at", type=click.IntRange(min=1), metavar="SEQ", help="After this journal entry. Default: where it last had work."
)
@click.option(
    "--with",
    "given",
    metavar="FILE|JSON|-",
    help="Keys of the state to begin with, in place of those it had: an object.",
)
@click.option(
    "--app-version", "version", metavar="DIGEST|current", help="Another version of its app. Default: the origin's."
)
@click.option("--key", help="Idempotency key: the same key twice is one fork.")
@dry_run_option
@actor_option
@output_option
def fork_command(
    *,
    session_id: str,
    at: int | None,
    given: str | None,
    version: str | None,
    key: str | None,
    dry_run: bool,
    actor: str,
    form: Form,
) -> int:
    """Begin a session where another one stood, at any entry of its journal."""
    from orchestrator.contracts.own_keys import check_callers_key
    from orchestrator.interfaces.cli.connect import with_client

    check_callers_key(key)
    state = None if given is None else _read_given(given)

    async def work(client: "Client") -> "tuple[Record, bool]":
        done = await client.fork(session_id, at=at, state=state, version=version, actor=actor, key=key, dry_run=dry_run)
        return await client.show(done.session_id), done.created

    # The app's own words are needed to check a state, to know what is current, and to tell its tools the new id.
    record, created = with_client(work, needs_apps=True)
    if form == "json":
        from orchestrator.interfaces.cli.shapes import session_line

        shape = {**session_line(record), "forked_at": record.forked_at, "spec": record.spec, "created": created}
        if dry_run:  # the record is the origin's, no other was made: the keys of one, and what is known of it
            shape = {**dict.fromkeys(shape), "app": record.app, "parent": session_id, "forked_at": at}
        print_json("fork", {**shape, "actor": actor, "dry_run": dry_run})
    elif dry_run:
        where = "where it last had work" if at is None else f"after entry {at}"
        click.echo(f"{session_id}: would be forked {where}, as {actor}")
    else:
        how = "forked from" if created else "was forked before from"
        click.echo(
            f"{record.session_id}: {how} {record.parent} after entry {record.forked_at}, in {record.cursor.skill}"
        )
    return OK


def _read_given(given: str) -> JsonObject:
    """Return the object that `--with` means; raise InputError."""
    from orchestrator.interfaces.cli.batch import read_state

    if given.lstrip().startswith("{"):
        return read_state(given, (), option="--with")
    if given == "-":
        return read_state(sys.stdin.read(), (), option="--with -")
    return read_state(f"@{given.removeprefix('@')}", (), option="--with")


@click.command("replay")
@click.argument("session_ids", metavar="ID...", nargs=-1, required=True, type=check_session_id)
@click.option("--verify", is_flag=True, help="Rebuild the session from its journal, and compare it with what is kept.")
@click.option(
    "--against",
    metavar="APP_DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Go through its steps with this version of its app, and say where it would do something else.",
)
@output_option
def replay_command(*, session_ids: tuple[str, ...], verify: bool, against: Path | None, form: Form) -> int:
    """Go through a session's journal again; nothing is changed, and nothing acts.

    Exit code 1: there are differences. To send a dead letter again, use `baton retry`.
    """
    if verify is (against is not None):
        raise InputError(
            "replay: say --verify, or --against APP_DIR; to send a dead letter again, use `baton retry ID`"
        )
    ids = list(dict.fromkeys(session_ids))
    return _verify(ids, form) if against is None else _rehearse(ids, against, form)


def _verify(session_ids: list[str], form: Form) -> int:
    from orchestrator.interfaces.cli.connect import with_client

    async def work(client: "Client") -> "list[Verified]":
        found = []
        with show_progress("verifying", len(session_ids), form) as progress:
            for session_id in session_ids:
                found.append(await client.verify(session_id))
                progress.step()
        return found

    found = with_client(work)
    if form == "json":
        print_json(
            "verified",
            [
                {
                    "session_id": one.session_id,
                    "ok": not one.differences,
                    "entries": one.entries,
                    "differences": list(one.differences),
                }
                for one in found
            ],
        )
    else:
        for one in found:
            told = many(len(one.differences), "difference") if one.differences else "the journal says the same"
            click.echo(f"{one.session_id}: {many(one.entries, 'entry', 'entries')}, {told}")
            for line in one.differences:
                click.echo(f"  {one_line(line, 400)}")
    return FAILED if any(one.differences for one in found) else OK


def _rehearse(session_ids: list[str], folder: Path, form: Form) -> int:
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.rehearsals import read_recording, rehearse

    async def work(client: "Client") -> list[JsonObject]:
        return [await read_recording(client, session_id) for session_id in session_ids]

    recordings = with_client(work)
    reports = rehearse(folder, recordings)
    if form == "json":
        print_json("rehearsed", [dict(one) for one in reports])
    else:
        for report in reports:
            _print_report(report)
    return FAILED if any(one["differences"] for one in reports) else OK


def _print_report(report: JsonObject) -> None:
    differences = report["differences"]
    lines = differences if isinstance(differences, list) else []
    told = many(len(lines), "difference") if lines else "no difference"
    left_out = f", {report['left_out']} not gone through" if report["left_out"] else ""
    click.echo(f"{report['session_id']}: {report['steps']} steps gone through{left_out}, {told}")
    for line in lines[:SHOWN]:
        if isinstance(line, dict):
            where = f"{line['seq']:>5}  {line['step']} in {line['skill']}: {line['what']}"
            click.echo(f"  {where}: was {compact(line['was'], 200)}, would be {compact(line['now'], 200)}")
    if len(lines) > SHOWN:
        click.echo(f"  … and {len(lines) - SHOWN} more; see -o json")
