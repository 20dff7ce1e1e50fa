"""What several commands share on their command line: the session id, the actor, the form of the output, durations."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from getpass import getuser
from typing import Any, Final, Literal, TypeAlias, TypeVar

import click

from orchestrator.contracts.errors import InputError
from orchestrator.contracts.ids import check_session_id

F = TypeVar("F", bound=Callable[..., Any])
Form: TypeAlias = Literal["table", "json"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)")


class SessionIdType(click.ParamType):
    """A session id; what cannot be one is refused before anything is connected."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id, or raise InvalidSessionId."""
        del param, ctx
        return check_session_id(str(value))


class DurationType(click.ParamType):
    """A duration in seconds, or with a unit: 90, 500ms, 15m, 2h, 3d."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = _DURATION.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration; write seconds, or 500ms, 15m, 2h, 3d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class SinceType(click.ParamType):
    """A time: a duration back from now, or an ISO date or time (UTC unless it says otherwise)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        found = _DURATION.fullmatch(text)
        if found is not None and found[2]:
            return datetime.fromtimestamp(datetime.now(UTC).timestamp() - float(found[1]) * _UNITS[found[2]], UTC)
        try:
            given = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is no time; write 15m, 2h, 3d, or 2026-11-20T08:00", param, ctx)
        return given if given.tzinfo else given.replace(tzinfo=UTC)


SESSION_ID: Final = SessionIdType()
DURATION: Final = DurationType()
SINCE: Final = SinceType()


def session_argument(command: F) -> F:
    """Add the argument ID."""
    return click.argument("session_id", metavar="ID", type=SESSION_ID)(command)


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


def actor_option(command: F) -> F:
    """Add `--as NAME`: who does it, for the journal and for rosters."""
    return click.option(
        "--as",
        "actor",
        metavar="NAME",
        envvar="BATON_ACTOR",
        default=find_actor,
        callback=_check_actor,
        help="Who you are, for the journal.  [env: BATON_ACTOR; default: your user name]",
    )(command)


def find_actor() -> str:
    """Return the name of the user who runs this."""
    try:
        return getuser()
    except (KeyError, OSError) as error:  # a container may run as a number without a name
        raise InputError("actor: this user has no name; give one with --as NAME or BATON_ACTOR") from error


def _check_actor(ctx: click.Context, param: click.Parameter, value: str) -> str:
    del ctx, param
    name = value.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise InputError("actor: a name has 1 to 200 printable characters; mend --as or BATON_ACTOR")
    return name
