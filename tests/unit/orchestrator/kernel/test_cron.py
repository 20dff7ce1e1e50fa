"""Schedules around the ends of fields, days, years and clocks."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from orchestrator.kernel.cron import cron_problem, last_time, next_time

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str, zone: str = "UTC") -> int:
    """Return a time in milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("* * * *", "4 fields; write five: minute hour day-of-month month day-of-week"),
        ("60 * * * *", "minute '60' is not within 0-59"),
        ("* * 0 * *", "day of month '0' is not within 1-31"),
        ("* * * 13 *", "month '13' is not within 1-12"),
        ("* * * * 8", "day of week '8' is not within 0-7"),
        ("5-1 * * * *", "minute '5-1' is not within 0-59"),
        ("*/0 * * * *", "minute '*/0' has a step that is not within 1-59"),
        ("*/60 * * * *", "minute '*/60' has a step that is not within 1-59"),
        ("a * * * *", "minute 'a' is not *, N, N-M or one of these with /STEP"),
        ("1,,2 * * * *", "minute '' is not *, N, N-M or one of these with /STEP"),
        ("0 0 30 2 *", "day of month '30' is never in month '2'; mend one of them"),
        ("0 0 31 2,4,6-6,9,11 */2", "day of month '31' is never in month '2,4,6-6,9,11'; mend one of them"),
    ],
)
def test_what_is_no_schedule_is_refused_by_its_field(text: str, said: str) -> None:
    """An app with it does not boot."""
    assert cron_problem(text) == f"schedule {text!r}: {said}"


@pytest.mark.parametrize(
    "text",
    [
        *("0 0 1 1 0", "59 23 31 12 7", "*/59 */23 */31 */12 */7", "5-5 * * * *", "1,2-4/2 * * * *"),
        *("0 0 29 2 *", "0 0 30-31 2,4 *", "0 0 30 2 1", "0 0 */31 2 *"),  # of the last but one, every Monday comes
    ],
)
def test_the_ends_of_a_field_belong_to_it(text: str) -> None:
    """And so does a range of one; what is accepted comes, if only in February."""
    assert cron_problem(text) is None
    assert next_time(text, ms("2026-11-21T10:00:00")) is not None


def test_a_schedule_that_nobody_checked_is_a_defect() -> None:
    """It is refused when its app is loaded; here it must not become another time."""
    with pytest.raises(ValueError, match="'61-': check it with cron_problem first"):
        next_time("61- * * * *", 0)
    with pytest.raises(ValueError, match="argument 2 is"):
        next_time("0 0 1 1 * *", 0)


@pytest.mark.parametrize(
    ("schedule", "after", "comes"),
    [
        ("* * * * *", "2026-11-21T10:00:00", "2026-11-21T10:01"),
        ("* * * * *", "2026-11-21T10:00:59", "2026-11-21T10:01"),
        ("5/20 * * * *", "2026-11-21T10:26:00", "2026-11-21T10:45"),
        ("10-30/10 * * * *", "2026-11-21T10:30:00", "2026-11-21T11:10"),
        ("0 0 * * 7", "2026-11-21T10:00:00", "2026-11-22T00:00"),
        ("0 0 * * 0", "2026-11-21T10:00:00", "2026-11-22T00:00"),
        ("0 0 1 * 1", "2026-11-21T10:00:00", "2026-11-23T00:00"),
        ("0 0 25 * 1", "2026-11-23T10:00:00", "2026-11-25T00:00"),
        ("0 0 */2 * 1", "2026-11-21T10:00:00", "2026-11-23T00:00"),
        ("0 0 29 2 *", "2026-11-21T10:00:00", "2028-02-29T00:00"),
    ],
)
def test_the_next_time_is_the_first_one_after_a_moment(schedule: str, after: str, comes: str) -> None:
    """Where both days are restricted either counts; one that begins with a star restricts nothing by itself."""
    assert next_time(schedule, ms(after)) == ms(comes)


def test_the_29th_of_february_is_found_over_a_century_that_is_no_leap_year() -> None:
    """It is the farthest day of a month that there is."""
    assert next_time("0 0 29 2 *", ms("2096-03-01T00:00:00")) == ms("2104-02-29T00:00:00")


def test_a_weekday_of_the_29th_of_february_is_found_forty_years_later() -> None:
    """A star with a step does not make either day count: both have to fit, and a process that found no next time looks no more."""
    assert next_time("0 0 29 2 */7", ms("2088-03-01T00:00:00")) == ms("2128-02-29T00:00:00")


def test_an_hour_that_clocks_skip_is_made_up_for_when_it_is_over() -> None:
    """A job of half past two still runs on the day that has none."""
    assert next_time("30 2 * * *", ms("2026-03-29T00:00:00"), BERLIN) == ms("2026-03-29T03:30:00", "Europe/Berlin")


@pytest.mark.parametrize("schedule", ["30 */2 * * *", "30 * * * *"])
def test_a_gap_brings_no_time_that_nobody_named(schedule: str) -> None:
    """Half past two, read by the clock that is not there yet, is half past one: an hour of its own, which comes once or not at all."""
    at, times = ms("2026-03-28T23:00:00"), []
    while (at := next_time(schedule, at, BERLIN) or 0) < ms("2026-03-29T03:00:00"):
        times.append(f"{datetime.fromtimestamp(at / 1000, BERLIN):%H:%M}")

    wanted = ["00:30", "03:30", "04:30"] if "2" in schedule else ["00:30", "01:30", "03:30", "04:30"]
    assert times == wanted
    assert last_time(schedule, ms("2026-03-29T00:45:00"), BERLIN) == ms(f"2026-03-29T{wanted[-3]}:00", "Europe/Berlin")


@pytest.mark.parametrize(
    ("schedule", "count"), [("30 2 * * *", 1), ("30 */2 * * *", 1), ("30 * * * *", 2), ("30 0-23 * * *", 2)]
)
def test_an_hour_that_comes_twice_counts_twice_only_for_every_hour(schedule: str, count: int) -> None:
    """A job of half past two runs once on the day that has it twice."""
    at, times = ms("2026-10-24T23:59:00"), []
    while (at := next_time(schedule, at, BERLIN) or 0) <= ms("2026-10-25T02:00:00"):
        times.append(datetime.fromtimestamp(at / 1000, BERLIN))

    assert sum(one.hour == 2 for one in times) == count


def test_the_last_time_is_the_latest_one_up_to_a_moment() -> None:
    """The moment itself counts; what is older than the days that are looked at does not."""
    at = ms("2026-11-21T06:00:00")

    assert last_time("0 6 * * *", at) == at
    assert last_time("0 6 * * *", at - 1) == ms("2026-11-20T06:00:00")
    assert last_time("0 6 13 * *", at) == ms("2026-11-13T06:00:00")
    assert last_time("0 6 12 * *", at) is None
