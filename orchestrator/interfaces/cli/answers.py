"""`baton approve`, `deny`, `answer`, `resume`, `signal`, `cancel`: what people say to sessions.

Each is one post, with its actor, in the session's journal. What is refused has changed nothing, and neither has a dry run.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError, PhaseRefused
from orchestrator.contracts.phases import SETTLED
from orchestrator.interfaces.cli.batch import read_value
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option, session_argument
from orchestrator.interfaces.cli.output import print_json

if TYPE_CHECKING:
    from orchestrator.client import Client


@click.command("approve")
@session_argument
@click.option("--reason", default="", help="Kept in the journal.")
@click.option("--wait-id", help="Only if it still asks this: the wait_id that `show -o json` tells.")
@click.option(
    "--always", is_flag=True, help="For this session also the same call again: the same tool with the same arguments."
)
@dry_run_option
@actor_option
@output_option
def approve_command(
    *, session_id: str, reason: str, wait_id: str | None, always: bool, dry_run: bool, actor: str, form: Form
) -> int:
    """Allow the tool call that a session asks about, or what its hook asks."""
    return _decide(
        session_id,
        allow=True,
        always=always,
        reason=reason,
        wait_id=wait_id,
        dry_run=dry_run,
        actor=actor,
        form=form,
    )


@click.command("deny")
@session_argument
@click.option("--reason", default="", help="Kept in the journal, and told to the session.")
@click.option("--wait-id", help="Only if it still asks this: the wait_id that `show -o json` tells.")
@dry_run_option
@actor_option
@output_option
def deny_command(*, session_id: str, reason: str, wait_id: str | None, dry_run: bool, actor: str, form: Form) -> int:
    """Refuse the tool call that a session asks about, or what its hook asks."""
    return _decide(session_id, allow=False, reason=reason, wait_id=wait_id, dry_run=dry_run, actor=actor, form=form)


def _decide(
    session_id: str,
    *,
    allow: bool,
    reason: str,
    wait_id: str | None,
    dry_run: bool,
    actor: str,
    form: Form,
    always: bool = False,
) -> int:
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.output import one_line
    from orchestrator.interfaces.cli.wording import describe_call

    async def work(client: "Client") -> JsonObject:
        record = await client.show(session_id)
        asked = record.wait
        # The answer is for what was read here: if the session asks something else by then, it is refused.
        shown = wait_id or (asked.wait_id if asked is not None else None)
        await client.decide(
            session_id, allow=allow, actor=actor, reason=reason, wait_id=shown, always=always, dry_run=dry_run
        )
        call = asked.call if asked is not None else None
        return {
            "session_id": session_id,
            "wait_id": shown,
            "verdict": ("allow always" if always else "allow") if allow else "deny",
            "call": describe_call(call.tool, call.args, 300) if call else None,
            "prompt": asked.prompt if asked is not None else None,
            "actor": actor,
            "reason": reason,
            "dry_run": dry_run,
        }

    said = with_client(work)
    word = f"{'would be ' if dry_run else ''}{'approved' if allow else 'denied'}"
    about = said["call"] or one_line(str(said["prompt"] or ""), 160)
    tail = ", and every call like it" if always else ""
    return _tell("decision", said, f"{session_id}: {word} {about}, as {actor}{tail}", form)


@click.command("answer")
@session_argument
@click.argument("text", required=False)
@click.option("--value", metavar="JSON", help="The answer as JSON, in place of a text.")
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="To a plugin's question: one field; repeat it for more.",
)
@click.option("--verdict", metavar="WORD", help="One of the words that the session offers.")
@click.option("--escalate", is_flag=True, help="At a gate: hand the session to a team.")
@click.option("--team", help="With --escalate: the team; the app's default one if left out.")
@click.option("--stop", is_flag=True, help="At a gate: end the session's work; a plugin's question: abort its pass.")
@click.option("--wait-id", help="Only if it still asks this: the wait_id that `show -o json` tells.")
@dry_run_option
@actor_option
@output_option
def answer_command(
    *,
    session_id: str,
    text: str | None,
    value: str | None,
    fields: tuple[str, ...],
    verdict: str | None,
    escalate: bool,
    team: str | None,
    stop: bool,
    wait_id: str | None,
    dry_run: bool,
    actor: str,
    form: Form,
) -> int:
    """Answer a session's question, its gate, a plugin's question, or an uncertain call."""
    ways = [name for name, given in (("--verdict", verdict), ("--escalate", escalate), ("--stop", stop)) if given]
    if len(ways) > 1:
        raise InputError(f"options {' and '.join(ways)}: they exclude each other; give one of them")
    if text is not None and value is not None:
        raise InputError("argument TEXT and option --value: they exclude each other; give one of them")
    if fields and (text is not None or value is not None or ways):
        raise InputError("option --field: it is an answer of its own; leave the others out")
    if team is not None and not escalate:
        raise InputError("option --team: it goes with --escalate; add that")
    if not ways and not fields and text is None and value is None:
        raise InputError("answer: nothing is said; give TEXT, --value, --field, --verdict, --escalate or --stop")
    said = "escalate" if escalate else "stop" if stop else verdict
    parsed = read_value(value) if value is not None else None
    return _answer(
        session_id,
        text=text,
        value=parsed,
        fields=_split_fields(fields),
        verdict=said,
        team=team,
        wait_id=wait_id,
        dry_run=dry_run,
        actor=actor,
        form=form,
    )


@click.command("resume")
@session_argument
@click.argument("text", required=False)
@click.option("--escalate", is_flag=True, help="Hand the session to a team.")
@click.option("--team", help="With --escalate: the team; the app's default one if left out.")
@click.option("--stop", is_flag=True, help="End the session's work.")
@click.option("--wait-id", help="Only if it still asks this: the wait_id that `show -o json` tells.")
@dry_run_option
@actor_option
@output_option
def resume_command(
    *,
    session_id: str,
    text: str | None,
    escalate: bool,
    team: str | None,
    stop: bool,
    wait_id: str | None,
    dry_run: bool,
    actor: str,
    form: Form,
) -> int:
    """Go on with a session that a gate has stopped: with a text, by escalating it, or not at all.

    What `baton pause` has stopped goes on by `baton unpause`.
    """
    if [text is not None, escalate, stop].count(True) != 1:
        raise InputError("resume: give TEXT, --escalate or --stop; one of the three")
    if team is not None and not escalate:
        raise InputError("option --team: it goes with --escalate; add that")
    verdict = "escalate" if escalate else "stop" if stop else "resume_with_input"
    return _answer(
        session_id, text=text, verdict=verdict, team=team, wait_id=wait_id, dry_run=dry_run, actor=actor, form=form
    )


def _answer(
    session_id: str,
    *,
    text: str | None,
    verdict: str | None,
    team: str | None,
    wait_id: str | None,
    dry_run: bool,
    actor: str,
    form: Form,
    value: JsonValue = None,
    fields: Mapping[str, str] | None = None,
) -> int:
    from orchestrator.interfaces.cli.connect import with_client

    texts = dict(fields or {})

    async def work(client: "Client") -> str | None:
        wait = (await client.show(session_id)).wait
        shown = wait_id or (wait.wait_id if wait is not None else None)
        await client.answer(
            session_id,
            actor=actor,
            text=text or "",
            value=value,
            verdict=verdict,
            team=team,
            fields=texts,
            wait_id=shown,
            dry_run=dry_run,
        )
        return shown

    shown = with_client(work, needs_apps=True)
    body: JsonObject = {
        "session_id": session_id,
        "wait_id": shown,
        "verdict": verdict,
        "text": text,
        "value": value,
        "fields": {**texts},
        "team": team,
        "actor": actor,
        "dry_run": dry_run,
    }
    return _tell("answer", body, f"{session_id}: {'would be ' if dry_run else ''}answered, as {actor}", form)


def _split_fields(given: tuple[str, ...]) -> dict[str, str]:
    """Return the names and values of NAME=VALUE; raise InputError."""
    texts: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or name in texts:
            raise InputError(f"option --field {one!r}: write NAME=VALUE, each name once")
        texts[name] = value
    return texts


@click.command("signal")
@session_argument
@click.argument("name")
@click.option("--value", metavar="JSON", help="What it carries; JSON, or text.")
@dry_run_option
@actor_option
@output_option
def signal_command(*, session_id: str, name: str, value: str | None, dry_run: bool, actor: str, form: Form) -> int:
    """Send a named signal to a session."""
    from orchestrator.interfaces.cli.connect import with_client

    if not 1 <= len(name) <= 200:
        raise InputError("argument NAME: a signal's name has 1 to 200 characters; mend it")
    parsed = read_value(value) if value is not None else None

    async def work(client: "Client") -> None:
        if dry_run:
            await _check_open(client, session_id)
        else:
            await client.signal(session_id, name, actor=actor, value=parsed)

    with_client(work)
    body: JsonObject = {
        "session_id": session_id,
        "name": name,
        "value": parsed,
        "actor": actor,
        "dry_run": dry_run,
    }
    done = "would be sent" if dry_run else "sent"
    return _tell("signal", body, f"{session_id}: signal {name!r} {done}, as {actor}", form)


@click.command("cancel")
@session_argument
@click.option("--reason", default="", help="Kept in the journal.")
@click.option("--immediate", is_flag=True, help="Wait for nothing: calls that run are left, and count as cancelled.")
@dry_run_option
@actor_option
@output_option
def cancel_command(*, session_id: str, reason: str, immediate: bool, dry_run: bool, actor: str, form: Form) -> int:
    """Ask a session to stop once its running tool calls are done; its child sessions too."""
    from orchestrator.interfaces.cli.connect import with_client

    async def work(client: "Client") -> None:
        if dry_run:
            await _check_open(client, session_id)
        else:
            await client.cancel(session_id, actor=actor, reason=reason, immediate=immediate)

    with_client(work)
    body: JsonObject = {
        "session_id": session_id,
        "reason": reason,
        "immediate": immediate,
        "actor": actor,
        "dry_run": dry_run,
    }
    how = "asked to stop at once" if immediate else "asked to stop"
    line = (
        f"{session_id}: would be {how}, as {actor}"
        if dry_run
        else (f"{session_id}: {how}, as {actor}; `baton watch {session_id}` follows it")
    )
    return _tell("cancel", body, line, form)


async def _check_open(client: "Client", session_id: str) -> None:
    """Raise what a post to this session would meet: SessionNotFound, or PhaseRefused for one that is settled."""
    record = await client.show(session_id)
    if record.phase in SETTLED:
        raise PhaseRefused(f"session {session_id}: it is {record.phase} already; nothing more reaches it")


def _tell(key: str, body: JsonObject, line: str, form: Form) -> int:
    if form == "json":
        print_json(key, body)
    else:
        click.echo(line)
    return OK
