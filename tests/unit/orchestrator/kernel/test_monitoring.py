"""When a monitor looks, for how long its session lasts, and what it makes of what it saw."""

from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, PendingCall, Record
from orchestrator.contracts.skill import Monitor, Route
from orchestrator.kernel.monitoring import await_time, judge, read_observation


def ms(hour: int, minute: int = 0, day: int = 21) -> int:
    """Return a time of one month in the store's milliseconds."""
    return int(datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


def monitor(schedule: str = "*/30 * * * *", when: str = "obs['used'] > 90") -> Monitor:
    """Return a monitor that looks twice an hour."""
    return Monitor(
        name="disk",
        schedule=schedule,
        observe="probes:disk",
        emit_signal_when=when,
        trigger_target="alarm",
        routes=(Route(when="default", next="__end__"),),
    )


def session(created_at: int = ms(0)) -> Record:
    """Return a monitor's session that has just looked."""
    cursor = Cursor(skill="disk", stage="model", serial=8, signal="failed", calls=(PendingCall(call_id="c", tool="t"),))
    return Record(session_id="S-1", app="a", spec="d", phase="running", cursor=cursor, created_at=created_at)


def test_it_waits_for_the_next_time_of_its_schedule() -> None:
    """The next look begins with nothing of the last one."""
    change = await_time(monitor(), session(), ms(10, 7), {"seen": 1})
    wait = change.record.wait

    assert wait is not None
    assert (wait.wait_id, wait.kind, wait.since_at, wait.deadline_at) == ("S-1/look-8", "timer", ms(10, 7), ms(10, 30))
    assert wait.prompt == "disk: looks at 10:30 UTC"
    assert (change.directive, change.data) == ("waiting", {"seen": 1})
    assert change.record.cursor == Cursor(skill="disk", stage="enter", serial=9)


@pytest.mark.parametrize(
    ("schedule", "now"),
    [("*/30 * * * *", ms(23, 45)), ("0 9 * * *", ms(9)), ("0 0 31 2 *", ms(1))],
    ids=["the day is over", "today's time has been", "it never comes"],
)
def test_its_session_ends_with_its_day(schedule: str, now: int) -> None:
    """There is one for each day, and no journal grows for ever."""
    change = await_time(monitor(schedule), session(), now)

    assert (change.directive, change.status, change.data) == ("finalizing", "", {})
    assert (change.record.wait, change.record.cursor.stage) == (None, "end")


def test_times_that_passed_while_nobody_was_there_are_not_made_up_for() -> None:
    """A session of yesterday that is found today ends; today has one of its own."""
    assert await_time(monitor(), session(ms(0, day=20)), ms(10)).directive == "finalizing"


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        ((), ""),
        (("free text",), "free text"),
        (('{"used": 1}', '{"used": 95}'), {"used": 95}),
        (("1e999",), "1e999"),
    ],
)
def test_what_it_saw_is_the_last_calls_result_as_far_as_it_is_json(messages: tuple[str, ...], seen: JsonValue) -> None:
    """A tool may answer in words."""
    assert read_observation(tuple(Message(role="tool", content=one) for one in messages)) == seen


@pytest.mark.parametrize(("used", "calls_for"), [(91, True), (90, False)])
def test_an_observation_calls_for_a_session_where_its_condition_holds(used: int, calls_for: bool) -> None:
    """Under both of its names."""
    assert judge(monitor(), {"used": used}) == (calls_for, "")
    assert judge(monitor(when="observation['used'] > 90"), {"used": used}) == (calls_for, "")


def test_a_condition_that_fails_calls_for_nothing_and_says_why() -> None:
    """The journal shows it; an alarm for each look that failed would hide the real ones."""
    is_due, why = judge(monitor(), {"free": 3})

    assert not is_due
    assert "there is no key 'used'" in why
