"""What several commands share on their command line: the session id, the actor, the form of the output, durations."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import Any, Final, Literal, TypeAlias, TypeVar

import click

from orchestrator.contracts.errors import InputError
from orchestrator.contracts.ids import check_session_id

F = TypeVar("F", bound=Callable[..., Any])
Form: TypeAlias = Literal["table", "json"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)")
#: A century. What is longer is a slip of the finger, and the time that it leads to one that no calendar has.
_MOST_SECONDS: Final = 36_525 * 86_400.0


# click takes a function as a type: it converts, and refuses by BadParameter.


def parse_duration(text: str) -> float:
    """Return the seconds of a duration: 90, 500ms, 15m, 2h, 3d.

    >>> parse_duration("90"), parse_duration("500ms"), parse_duration("1.5h")
    (90.0, 0.5, 5400.0)
    """
    found = _DURATION.fullmatch(str(text).strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration; write seconds, or 500ms, 15m, 2h, 3d")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _MOST_SECONDS:
        raise click.BadParameter(f"{text[:80]!r} is over a hundred years; write less")
    return seconds


def parse_since(text: str) -> datetime:
    """Return a time: a duration back from now, or an ISO date or time (UTC unless it says otherwise).

    >>> parse_since("2026-11-20T08:00").isoformat()
    '2026-11-20T08:00:00+00:00'
    """
    found = _DURATION.fullmatch(text.strip())
    if found is not None and found[2]:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time; write 15m, 2h, 3d, or 2026-11-20T08:00") from error
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def session_argument(command: F) -> F:
    """Add the argument ID."""
    return click.argument("session_id", metavar="ID", type=check_session_id)(command)


def output_option(command: F) -> F:
    """Add `-o table|json`."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="For people, or one JSON object.",
    )(command)


def dry_run_option(command: F) -> F:
    """Add `--dry-run`: everything is looked up and checked as otherwise, and nothing is changed."""
    return click.option("--dry-run", is_flag=True, help="Check it all, say what would be done, and do nothing.")(
        command
    )


def actor_option(command: F) -> F:
    """Add `--as NAME`: who does it, for the journal and for rosters."""
    return click.option(
        "--as",
        "actor",
        metavar="NAME",
        envvar="BATON_ACTOR",
        default=find_actor,
        callback=check_actor,
        help="Who you are, for the journal.  [env: BATON_ACTOR; default: your user name]",
    )(command)


def find_actor() -> str:
    """Return the name of the user who runs this."""
    try:
        return getuser()
    except (KeyError, OSError) as error:  # a container may run as a number without a name
        raise InputError("actor: this user has no name; give one with --as NAME or BATON_ACTOR") from error


def check_actor(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a name without the space around it, None where none was given; raise InputError for what is no name."""
    del ctx, param
    if value is None:
        return None
    name = value.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise InputError("actor: a name has 1 to 200 printable characters; mend --as or BATON_ACTOR")
    return name
