"""Session ids and partitions: one rule for what is minted and for what is accepted.

An id is `PREFIX-YYYYMMDD-N…N` with at least three digits in its number, so that the thousandth
session of a day is as readable as the first. The prefix begins with a letter: anything that
`format_session_id` mints, `check_session_id` accepts.
"""

import re
from binascii import crc_hqx
from datetime import datetime

from orchestrator.contracts.errors import InvalidSessionId

PREFIX_PATTERN = r"[A-Za-z](?:[A-Za-z0-9-]{0,14}[A-Za-z0-9])?"
_PREFIX = re.compile(PREFIX_PATTERN)
_SESSION_ID = re.compile(rf"{PREFIX_PATTERN}-\d{{8}}-\d{{3,12}}")


def is_prefix(text: str) -> bool:
    """Say whether `text` may stand in front of session ids.

    >>> [is_prefix(t) for t in ("SES", "MY-APP", "x" * 16, "", "-", "1A", "A-", "SES\\n", "x" * 17)]
    [True, True, True, False, False, False, False, False, False]
    """
    return _PREFIX.fullmatch(text) is not None


def is_session_id(text: str) -> bool:
    """Say whether `text` has the form of a session id; whether it exists is the store's word."""
    return _SESSION_ID.fullmatch(text) is not None


def check_session_id(text: str) -> str:
    """Return `text` unchanged, or raise InvalidSessionId."""
    if not is_session_id(text):
        raise InvalidSessionId(text)
    return text


def format_session_id(prefix: str, day: datetime, number: int) -> str:
    """Build the id of the `number`-th session that `prefix` saw on the UTC day of `day`.

    >>> from datetime import UTC
    >>> format_session_id("SES", datetime(2026, 11, 20, tzinfo=UTC), 7)
    'SES-20261120-007'
    >>> format_session_id("SES", datetime(2026, 11, 20, tzinfo=UTC), 1000)
    'SES-20261120-1000'
    """
    return f"{prefix}-{day:%Y%m%d}-{number:03d}"


def partition_of(session_id: str, partitions: int) -> int:
    """Return the partition that holds a session: CRC16 (XMODEM, as Redis Cluster uses) mod P."""
    return crc_hqx(session_id.encode(), 0) % partitions


def list_slips(session_id: str) -> list[str]:
    """Return ids of which one slip of the finger makes this one: two digits swapped, one too many, one off.

    >>> list_slips("SES-20261120-021")
    ['SES-20261120-201', 'SES-20261120-012', 'SES-20261120-020', 'SES-20261120-022']
    >>> list_slips("SES-20261120-1123")[-5:]
    ['SES-20261120-123', 'SES-20261120-113', 'SES-20261120-112', 'SES-20261120-1122', 'SES-20261120-1124']
    """
    stem, number = session_id.rsplit("-", 1)
    swapped = (f"{number[:at]}{number[at + 1]}{number[at]}{number[at + 2 :]}" for at in range(len(number) - 1))
    dropped = (number[:at] + number[at + 1 :] for at in range(len(number)))
    beside = (f"{int(number) + step:03d}" for step in (-1, 1))
    found = (f"{stem}-{one}" for one in dict.fromkeys((*swapped, *dropped, *beside)))
    return [one for one in found if one != session_id and is_session_id(one)]
