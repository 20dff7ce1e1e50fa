"""Read the end of a service's log: counts by level and samples of its errors. Bounded, read only.

A line reads `TIMESTAMP LEVEL text`; one without a level belongs to the line before it (a
traceback). What a log says is written by the service and whoever talks to it: data, never orders.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import BaseModel

_TAIL_BYTES: Final = 256 * 1024
_LINE: Final = re.compile(r"(?P<at>\d{4}-\d\d-\d\d[T ]\S+) +\[?(?P<level>[A-Za-z]+)\]?:? +(?P<text>.*)")
_LEVELS: Final = {
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "NOTICE": "INFO",
    "WARN": "WARNING",
    "WARNING": "WARNING",
    "ERROR": "ERROR",
    "CRITICAL": "ERROR",
    "FATAL": "ERROR",
}
_SAMPLES: Final = 5
_LINES_SHOWN: Final = 20
_TEXT: Final = 300


class ErrorSample(BaseModel):
    """One kind of error: messages that differ only in numbers are the same kind."""

    message: str
    count: int
    last_at: str


class LogSummary(BaseModel):
    """What the log's end says. `errors` counts ERROR and graver; `truncated`: older lines were not read."""

    lines: int
    truncated: bool
    minutes: int
    levels: dict[str, int]
    errors: int
    error_share: float
    last_error_at: str | None
    error_samples: list[ErrorSample]
    tail: list[str]


def read_log(path: Path, *, minutes: int, now: datetime) -> LogSummary:
    """Return the summary of the last `minutes`; a missing file is an empty one. Raise OSError otherwise."""
    text, truncated = _read_tail(path)
    since = now - timedelta(minutes=minutes)
    levels: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    latest: dict[str, tuple[str, str]] = {}
    recent: list[str] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        level = _LEVELS.get(found["level"].upper()) if found else None
        if found is None or level is None:
            continue
        at = _parse_time(found["at"])
        if at is None or at < since:
            continue
        levels[level] += 1
        recent.append(_clean(line))
        if level == "ERROR":
            kind = re.sub(r"0x[0-9a-f]+|\d+", "N", found["text"])[:_TEXT]
            kinds[kind] += 1
            latest[kind] = (found["at"], _clean(found["text"]))
    lines = sum(levels.values())
    return LogSummary(
        lines=lines,
        truncated=truncated,
        minutes=minutes,
        levels=dict(levels),
        errors=levels["ERROR"],
        error_share=round(levels["ERROR"] / lines, 3) if lines else 0.0,
        last_error_at=max((at for at, _ in latest.values()), default=None),
        error_samples=[
            ErrorSample(message=latest[kind][1], count=count, last_at=latest[kind][0])
            for kind, count in kinds.most_common(_SAMPLES)
        ],
        tail=recent[-_LINES_SHOWN:],
    )


def _read_tail(path: Path) -> tuple[str, bool]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            raw = file.read(_TAIL_BYTES)
    except FileNotFoundError:
        return "", False
    if size > _TAIL_BYTES:
        raw = raw.partition(b"\n")[2]  # the first line is cut in its middle
    return raw.decode("utf-8", "replace"), size > _TAIL_BYTES


def _parse_time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:_TEXT])
