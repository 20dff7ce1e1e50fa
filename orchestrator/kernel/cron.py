"""Schedules: cron with five fields, in UTC.

`*`, `N`, `N-M`, each with `/STEP`, and lists of these. Where both days are restricted, either one counts, as cron has it;
Sunday is 0 and 7. Pure: the time comes from the caller.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

#: Of each cron field: its name, its least and its greatest value.
_CRON: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_CRON_PART: Final = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,3}))?")

#: No schedule that can come at all is further away: the 29th of February, over a year that is no leap year.
_FARTHEST_DAYS: Final = 366 * 9


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
    return None


def next_time(schedule: str, after_ms: int) -> int | None:
    """Return the first minute after a time (both in milliseconds) that a valid schedule names; None where it names none.

    >>> from datetime import UTC, datetime
    >>> begin = int(datetime(2026, 2, 27, 23, 58, 30, tzinfo=UTC).timestamp() * 1000)
    >>> def name(schedule): return f"{datetime.fromtimestamp(next_time(schedule, begin) / 1000, UTC):%F %R}"
    >>> name("*/5 * * * *"), name("30 9 * * 1-5"), name("0 0 29 2 *"), next_time("0 0 31 2 *", begin)
    ('2026-02-28 00:00', '2026-03-02 09:30', '2028-02-29 00:00', None)
    """
    minutes, hours, days, months, weekdays = (
        _values(field, least, greatest) for field, (_, least, greatest) in zip(schedule.split(), _CRON, strict=True)
    )
    any_day, any_weekday = (schedule.split()[place].startswith("*") for place in (2, 4))
    now = datetime.fromtimestamp(after_ms / 1000, UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    for ahead in range(_FARTHEST_DAYS):
        day = (now + timedelta(days=ahead)).date()
        on_day, on_weekday = day.day in days, day.isoweekday() % 7 in {number % 7 for number in weekdays}
        fits = (on_day and on_weekday) if any_day or any_weekday else (on_day or on_weekday)
        if day.month not in months or not fits:
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                if found >= now:
                    return int(found.timestamp() * 1000)
    return None


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
