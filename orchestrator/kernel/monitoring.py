"""Decide what a monitor does next: wait for its time, look, and judge what it saw.

A monitor runs in a session of its own, one for each UTC day: it waits by its schedule, makes the observing call like any other
call, submits a session where the condition holds, and waits again; the day over, it ends without a status. So a look survives the
death of any process, is in a journal that a person can read, and no journal grows for ever. Times that passed while
nobody was there are not made up for: one look follows, then the next time of the schedule. Pure.
"""

from datetime import UTC, datetime

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.messages import Message
from orchestrator.contracts.own_keys import OwnKey
from orchestrator.contracts.session import Record, Wait
from orchestrator.contracts.skill import Monitor
from orchestrator.kernel.change import Change, finish, suspend
from orchestrator.kernel.cron import next_time
from orchestrator.kernel.expressions import ExpressionError, compile_expression


def watch_key(skill: str, now: int) -> str:
    """Return the idempotency key of a monitor's session: there is one for each day.

    >>> watch_key("disk", 1_795_227_451_733)
    'monitor/disk/2026-11-21'
    """
    return OwnKey.WATCH.make(skill, _day(now))


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"


def await_time(skill: Monitor, record: Record, now: int, data: JsonObject | None = None) -> Change:
    """Return the change that waits for the schedule's next time, or ends the session where that is on another day."""
    at = next_time(skill.schedule, now)
    if at is None or _day(at) != _day(record.created_at):
        return finish(record, "wait", data=data or {})
    wait = Wait(
        wait_id=f"{record.session_id}/look-{record.cursor.serial}",
        kind="timer",
        since_at=now,
        deadline_at=at,
        prompt=f"{skill.name}: looks at {datetime.fromtimestamp(at / 1000, UTC):%H:%M} UTC",
    )
    cursor = record.cursor.model_copy(update={"stage": "enter", "calls": (), "signal": None})
    return suspend(record, wait, "wait", cursor=cursor, data=data)


def read_observation(messages: tuple[Message, ...]) -> JsonValue:
    """Return what the last call saw: its result, as JSON where it is JSON."""
    said = messages[-1].content if messages else ""
    try:
        return load_json(said)
    except ValueError:
        return said


def judge(skill: Monitor, observation: JsonValue) -> tuple[bool, str]:
    """Say whether an observation calls for a session, and why it could not be told where the condition fails on it."""
    try:
        return compile_expression(skill.emit_signal_when).holds({"observation": observation, "obs": observation}), ""
    except ExpressionError as error:
        return False, str(error)
