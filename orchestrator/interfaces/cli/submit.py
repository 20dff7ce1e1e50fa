"""`baton submit`: one session, or many from JSON lines or from the app's own options.

Everything is checked before the first session is created. What was submitted is always told, also when the store
went away in the middle.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import BatonError, InputError, UnknownApp, suggest
from orchestrator.contracts.session import Priority
from orchestrator.interfaces.cli import batch
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option, parse_duration
from orchestrator.interfaces.cli.output import make_table, one_line, print_json, print_table
from orchestrator.interfaces.cli.progress import show_progress

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.contracts.app import AppSpec
    from orchestrator.contracts.session import Record

#: Submissions under way at once: enough to share round trips, few enough to stop soon.
AT_ONCE: Final = 64


@click.command(
    "submit",
    context_settings={"ignore_unknown_options": True},
    epilog="Options that are not listed here are handed to the app: `baton submit APP --its-option VALUE`. "
    "An app with options of its own and nothing else given chooses itself what to submit.",
)
@click.argument("app")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--OPTION VALUE]...")
@click.option("--text", help="What the session is asked.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A key of its state; JSON, or text.")
@click.option("--state", metavar="JSON|@FILE", help="Its whole state, as a JSON object.")
@click.option("--key", help="Idempotency key: the same key twice is one session.")
@click.option("--skill", metavar="NAME", help="Enter this skill, in place of the app's entry_skill.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), default="normal", show_default=True)
@click.option("-f", "--file", metavar="FILE|-", help="Submit many: JSON lines of {text, state, key, priority}.")
@click.option("--wait", is_flag=True, help="Wait until each has ended, or waits for a person (exit code 4).")
@click.option("--timeout", type=parse_duration, metavar="SECONDS", default=600.0, show_default=True, help="For --wait.")
@dry_run_option
@actor_option
@output_option
def submit_command(
    *,
    app: str,
    words: tuple[str, ...],
    text: str | None,
    pairs: tuple[str, ...],
    state: str | None,
    key: str | None,
    skill: str | None,
    priority: Priority,
    file: str | None,
    wait: bool,
    timeout: float,
    dry_run: bool,
    actor: str,
    form: Form,
) -> int:
    """Submit a session, or many."""
    from orchestrator.interfaces.cli.connect import load_specs, settings, with_client

    if app.startswith("-"):
        raise InputError(f"argument {app[:80]!r}: the app comes first; write `baton submit APP {app} …`")
    if dry_run and wait:
        raise InputError("options --dry-run and --wait: there would be nothing to wait for; give one of them")
    known = (
        "--text",
        "--set",
        "--state",
        "--key",
        "--skill",
        "--priority",
        "--file",
        "--wait",
        "--timeout",
        "--dry-run",
        "--as",
        "--output",
    )
    options = batch.parse_options(words, known)
    specs = load_specs()
    spec = specs.get(app)
    if spec is None:
        raise UnknownApp(app, specs)
    if skill is not None and skill not in spec.skills:
        raise InputError(f"option --skill {skill!r}: app {app} has no such skill; {suggest(skill, spec.skills)}")
    requests = _collect(spec, options, text=text, pairs=pairs, state=state, key=key, priority=priority, file=file)
    batch.check_requests(spec, requests, settings())
    is_single = len(requests) == 1 and not file and not options
    if dry_run:
        return _rehearse(app, requests, actor=actor, form=form, single=is_single)

    async def work(client: "Client") -> int:
        seconds = timeout if wait else None
        return await _submit(
            client, spec, requests, skill=skill, actor=actor, form=form, single=is_single, seconds=seconds
        )

    return with_client(work, needs_apps=True)


def _collect(
    spec: "AppSpec",
    options: dict[str, str],
    *,
    text: str | None,
    pairs: Sequence[str],
    state: str | None,
    key: str | None,
    priority: Priority,
    file: str | None,
) -> list[batch.Request]:
    """Return the requests that the command line stands for; raise InputError."""
    if file is not None:
        given = [
            f"--{name.replace('_', '-')}" for name in (*options, *(["text"] if text else []), *(["key"] if key else []))
        ]
        if given or pairs or state:
            extra = given[0] if given else "--state" if state else "--set"
            raise InputError(f"options --file and {extra}: each line of the file says that itself; give one of them")
        return batch.read_lines(file, priority)
    overrides = batch.read_state(state, pairs)
    if options or (batch.has_options(spec) and text is None and not overrides):
        # The app's text is part of its options: it may have a meaning of its own there.
        asked = {**options, **({"text": text} if text is not None else {})}
        requests = batch.read_app_options(spec, asked, priority)
        if not requests:
            raise InputError(f"app {spec.name}: these options give nothing to submit; change them")
        if key is not None and len(requests) > 1:
            raise InputError(
                f"option --key: it names one session, and these options give {len(requests)}; leave it out"
            )
        return [one.model_copy(update={"state": {**one.state, **overrides}, "key": key or one.key}) for one in requests]
    return [batch.Request(where="submission", text=text or "", state=overrides, key=key, priority=priority)]


def _rehearse(app: str, requests: Sequence[batch.Request], *, actor: str, form: Form, single: bool) -> int:
    """Say what would be submitted; of a key that is known, which session it means."""
    from orchestrator.interfaces.cli.connect import with_client

    async def look(client: "Client") -> list[str | None]:
        return [await client.find_by_key(app, one.key) if one.key is not None else None for one in requests]

    known = with_client(look) if any(one.key is not None for one in requests) else [None] * len(requests)
    rows: list[JsonObject] = [
        {
            "session_id": session_id,
            "app": app,
            "created": session_id is None,
            "where": one.where,
            "key": one.key,
            "title": one.title or one_line(one.text),
            "dry_run": True,
        }
        for one, session_id in zip(requests, known, strict=True)
    ]
    if form == "json":
        print_json("submission" if single else "submissions", rows[0] if single else list(rows))
        return OK
    for row in rows:
        told = "would be submitted" if row["created"] else f"is there already, as {row['session_id']}: the same key"
        click.echo(f"{row['where']}: {told}{', as ' + actor if row['created'] else ''}: {row['title'] or '-'}")
    return OK


async def _submit(
    client: "Client",
    spec: "AppSpec",
    requests: Sequence[batch.Request],
    *,
    skill: str | None,
    actor: str,
    form: Form,
    single: bool,
    seconds: float | None,
) -> int:
    done: list[JsonObject | None] = [None] * len(requests)
    turn = asyncio.Semaphore(AT_ONCE)
    error: BatonError | None = None

    async def submit_one(number: int, request: batch.Request) -> None:
        nonlocal error
        async with turn:
            if error is not None:
                return
            try:
                made = await client.submit(
                    spec.name,
                    text=request.text,
                    overrides=request.state,
                    actor=actor,
                    key=request.key,
                    priority=request.priority,
                    entry_skill=skill,
                )
            except BatonError as caught:
                error = error or caught
                return
            done[number] = {
                "session_id": made.session_id,
                "app": spec.name,
                "created": made.created,
                "where": request.where,
                "key": request.key,
                "title": request.title or one_line(request.text),
                "dry_run": False,
            }
            progress.step()

    with show_progress("submitting", len(requests), form) as progress:
        await asyncio.gather(*(submit_one(number, request) for number, request in enumerate(requests)))
    rows = [row for row in done if row is not None]
    code = OK
    if seconds is not None and error is None:
        with show_progress("waiting for their ends", len(rows), form) as progress:
            code = await _wait(client, spec, rows, seconds, progress.step)
    _print(rows, form, single=single and error is None, waited=seconds is not None and error is None)
    if error is not None:
        if rows:
            sys.stderr.write(f"baton: {len(rows)} of {len(requests)} were submitted before it failed\n")
        raise error
    return code


async def _wait(
    client: "Client", spec: "AppSpec", rows: Sequence[JsonObject], seconds: float, tell: Callable[[int], None]
) -> int:
    """Wait, and add to each row what became of its session."""
    from orchestrator.interfaces.cli.following import exit_code_for, wait_settled
    from orchestrator.interfaces.cli.shapes import session_line, wait_shape
    from orchestrator.interfaces.cli.wording import describe_where

    ids = [str(row["session_id"]) for row in rows]
    found: dict[str, Record] = await wait_settled(client, ids, seconds=seconds, tell=tell)
    for row in rows:
        record = found[str(row["session_id"])]
        row.update(session_line(record))
        row["fields"] = record.fields
        row["wait"] = wait_shape(record)
        row["where_it_is"] = describe_where(record)
    return exit_code_for(spec, list(found.values()))


def _print(rows: Sequence[JsonObject], form: Form, *, single: bool, waited: bool) -> None:
    if form == "json":
        if single:
            print_json("submission", rows[0])
        else:
            print_json("submissions", list(rows))
        return
    if single and not waited:
        row = rows[0]
        click.echo(str(row["session_id"]) + ("" if row["created"] else "  (it was there already: the same key)"))
        return
    table = (
        make_table("SESSION", "NEW", "STATUS", "WHERE", "TITLE", cuts=("WHERE", "TITLE"))
        if waited
        else make_table("SESSION", "NEW", "TITLE")
    )
    for row in rows:
        first = (str(row["session_id"]), "yes" if row["created"] else "no")
        middle = (str(row["status"] or "-"), one_line(str(row["where_it_is"]), 140)) if waited else ()
        table.add_row(*first, *middle, one_line(str(row["title"]), 80))
    print_table(table)
    for row in rows:
        wait = row.get("wait")
        if isinstance(wait, dict) and isinstance(wait["answer_with"], list):
            for command in wait["answer_with"]:
                click.echo(f"  {command}")
