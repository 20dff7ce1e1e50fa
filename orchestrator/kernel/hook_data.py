"""What the handlers of an event are given: its data with the session's fields and the time, as JSON.

Each handler gets a copy of its own, so that what one does to it no other sees; what JSON cannot
hold is given as its text. Pure: the time is a parameter. Who is called is not decided here.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from orchestrator.contracts.errors import EventDataInvalid

# UTF-8 as it is: a lone surrogate, which no reader elsewhere could take, is refused here and now.
_ENCODER = json.JSONEncoder(default=str, allow_nan=False, ensure_ascii=False)


def format_time(at: datetime) -> str:
    """Return an aware UTC time as every event and message has it.

    >>> from datetime import UTC
    >>> format_time(datetime(2030, 1, 2, tzinfo=UTC))
    '2030-01-02T00:00:00.000000+00:00'
    """
    return at.isoformat(timespec="microseconds")


def complete_data(data: Any, defaults: Mapping[str, Any], at: datetime) -> Any:
    """Return the data with the defaults below it and the time above it; data that is no mapping as it is.

    >>> from datetime import UTC
    >>> complete_data({"a": 1, "timestamp": "mine"}, {"a": 0, "b": 2}, datetime(2030, 1, 2, tzinfo=UTC))
    {'a': 1, 'b': 2, 'timestamp': '2030-01-02T00:00:00.000000+00:00'}
    """
    if not isinstance(data, dict):
        return data
    return {**defaults, **data, "timestamp": format_time(at)}


def encode_data(event: str, data: Any) -> bytes:
    """Return the JSON of which every handler gets its copy; raise EventDataInvalid for what is none."""
    try:
        return _ENCODER.encode(data).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EventDataInvalid(event, error) from error


def decode_data(event: str, encoded: bytes) -> Any:
    """Return a fresh copy of what was encoded; raise EventDataInvalid for what is nested too deeply to be read."""
    try:
        return from_json(encoded)
    except ValueError as error:
        raise EventDataInvalid(event, error) from error
