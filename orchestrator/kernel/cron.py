"""Schedules: cron with five fields, in UTC or in a time zone that the caller gives.

`*`, `N`, `N-M`, each with `/STEP`, and lists of these. Where both days are restricted, either one counts, as cron has it;
Sunday is 0 and 7. Where clocks are put forward, a time that is skipped comes when the gap is over; where they are put back, a
time that comes twice counts once, unless every hour counts. Pure: the time comes from the caller.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

#: Of each cron field: its name, its least and its greatest value.
_CRON: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_CRON_PART: Final = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,3}))?")

#: No schedule that can come at all is further away: a 29th of February on one weekday, over a century's year that is no leap year.
_FARTHEST_DAYS: Final = 366 * 41
_HOURS_OF_DAY: Final = 24
#: How many days each month has at most.
_DAYS_OF_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: No app may catch up on what is older than a week.
_BACK_DAYS: Final = 8


def cron_problem(text: str) -> str | None:
    """Return what is wrong with a five-field cron schedule, None if nothing is.

    >>> [cron_problem(t) for t in ("*/5 * * * *", "0 9-17 * * 1-5")], cron_problem("0 24 * * *")
    ([None, None], "schedule '0 24 * * *': hour '24' is not within 0-23")
    """
    fields = text.split()
    if len(fields) != len(_CRON):
        return f"schedule {text!r}: {len(fields)} fields; write five: minute hour day-of-month month day-of-week"
    for (name, least, greatest), value in zip(_CRON, fields, strict=True):
        for part in value.split(","):
            match = _CRON_PART.fullmatch(part)
            if match is None:
                return f"schedule {text!r}: {name} {part!r} is not *, N, N-M or one of these with /STEP"
            numbers = [int(number) for number in match.groups()[:2] if number]
            if any(not least <= number <= greatest for number in numbers) or numbers != sorted(numbers):
                return f"schedule {text!r}: {name} {part!r} is not within {least}-{greatest}"
            if match.group(3) is not None and not 1 <= int(match.group(3)) <= greatest:
                return f"schedule {text!r}: {name} {part!r} has a step that is not within 1-{greatest}"
    if _either_day(fields):
        return None  # there is a weekday in every month
    days, months = (_values(fields[index], _CRON[index][1], _CRON[index][2]) for index in (2, 3))
    if min(days) > max(_DAYS_OF_MONTH[month - 1] for month in months):
        return f"schedule {text!r}: day of month {fields[2]!r} is never in month {fields[3]!r}; mend one of them"
    return None


def _either_day(fields: Sequence[str]) -> bool:
    """Say whether either day counts: both are restricted. Otherwise both have to fit."""
    return not (fields[2].startswith("*") or fields[4].startswith("*"))


def next_time(schedule: str, after_ms: int, zone: tzinfo = UTC) -> int | None:
    """Return the first minute after a time (both in milliseconds) that a valid schedule names; None where it names none.

    >>> from datetime import UTC, datetime
    >>> begin = int(datetime(2026, 2, 27, 23, 58, 30, tzinfo=UTC).timestamp() * 1000)
    >>> def name(schedule): return f"{datetime.fromtimestamp(next_time(schedule, begin) / 1000, UTC):%F %R}"
    >>> name("*/5 * * * *"), name("30 9 * * 1-5"), name("0 0 29 2 *"), next_time("0 0 31 2 *", begin)
    ('2026-02-28 00:00', '2026-03-02 09:30', '2028-02-29 00:00', None)
    """
    for ahead in range(_FARTHEST_DAYS):
        times = _times(schedule, _day(after_ms, zone) + timedelta(days=ahead), zone)
        found = min((at for at in times if at > after_ms), default=None)
        if found is not None:
            return found
    return None


def last_time(schedule: str, until_ms: int, zone: tzinfo = UTC) -> int | None:
    """Return the last time that a valid schedule names up to a moment; None where the week before it holds none.

    >>> from datetime import UTC, datetime
    >>> moment = int(datetime(2026, 2, 27, 6, 0, 30, tzinfo=UTC).timestamp() * 1000)
    >>> f"{datetime.fromtimestamp(last_time('0 6,18 * * *', moment) / 1000, UTC):%F %R}", last_time("0 0 1 1 *", moment)
    ('2026-02-27 06:00', None)
    """
    for back in range(_BACK_DAYS + 1):
        times = _times(schedule, _day(until_ms, zone) - timedelta(days=back), zone)
        found = max((at for at in times if at <= until_ms), default=None)
        if found is not None:
            return found
    return None


def _day(at: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(at / 1000, zone).date()


def _times(schedule: str, day: date, zone: tzinfo) -> Iterator[int]:
    """Yield a day's times, not in order: around a change of clocks a later reading may be an earlier moment."""
    fields = schedule.split()
    minutes, hours, days, months, weekdays = (
        _values(field, least, greatest) for field, (_, least, greatest) in zip(fields, _CRON, strict=True)
    )
    on_day, on_weekday = day.day in days, day.isoweekday() % 7 in {number % 7 for number in weekdays}
    if day.month not in months or not ((on_day or on_weekday) if _either_day(fields) else (on_day and on_weekday)):
        return
    is_every_hour = len(hours) == _HOURS_OF_DAY
    for hour in hours:
        for minute in minutes:
            named = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            at = int(named.timestamp())
            yield at * 1000
            # Where clocks are put back, an hour comes twice. Who counts every hour counts both. Where they are put forward the second
            # reading is an earlier moment, which another time of the day names, or none.
            if is_every_hour and (again := int(named.replace(fold=1).timestamp())) > at:
                yield again * 1000


def _values(field: str, least: int, greatest: int) -> frozenset[int]:
    """Return the numbers that a valid field names."""
    found: set[int] = set()
    for part in field.split(","):
        match = _CRON_PART.fullmatch(part)
        if match is None:
            raise ValueError(f"schedule field {field!r}: check it with cron_problem first; this is a defect, report it")
        first, last, step = match.groups()
        begin = least if first is None else int(first)
        end = greatest if first is None or (last is None and step is not None) else int(last or first)
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)
