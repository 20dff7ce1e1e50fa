"""The idempotency keys of Baton's own: under which its parts submit sessions, and which no caller may bring.

A key means one session of an app. Whoever else's session stood under one of these already, Baton would take it for its own: a
webhook would be answered with it, a parent would die of it, a monitor's day would go by unwatched. So each of these keys is
made from a form that stands here, and where a caller's key comes in - HTTP, MCP, the console, the command line - what could
have been made from any of them is refused. The forms themselves never change: a fan-out that an older Baton began is
repeated under the same keys.
"""

import re
from enum import Enum
from typing import Final

from orchestrator.contracts.errors import InputError
from orchestrator.contracts.ids import PREFIX_PATTERN
from orchestrator.contracts.skill import SKILL_PATTERN
from orchestrator.contracts.triggers import TRIGGER_PATTERN

_SESSION: Final = rf"{PREFIX_PATTERN}-[0-9]{{8}}-[0-9]{{3,12}}"
_NUMBER: Final = "[0-9]+"
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


class OwnKey(Enum):
    """The forms: a text with blanks, and for each blank the pattern of what is filled in."""

    #: The child of a fan-out: the parent, the serial of its step, the number of the item.
    CHILD = ("child:{}:{}:{}", _SESSION, _NUMBER, _NUMBER)
    #: What a monitor's look has called for: the monitor's session, the serial of the look.
    LOOK = ("{}/look-{}", _SESSION, _NUMBER)
    #: A monitor's session of one day: its skill, the UTC day.
    WATCH = ("monitor/{}/{}", SKILL_PATTERN, _DAY)
    #: One time of a schedule: the trigger, the UTC minute.
    SCHEDULE = ("schedule/{}/{}", TRIGGER_PATTERN, f"{_DAY}T[0-9]{{2}}:[0-9]{{2}}Z")
    #: What a webhook was sent: the trigger, the sender's own key.
    TRIGGER = ("trigger/{}/{}", TRIGGER_PATTERN, r"[\x20-\x7e]+")

    def __init__(self, blank: str, *parts: str) -> None:
        self._blank = blank
        self._pattern = re.compile(re.escape(blank).replace(r"\{\}", "{}").format(*(f"(?:{part})" for part in parts)))

    def make(self, *parts: str | int) -> str:
        """Return a key of this form.

        >>> OwnKey.CHILD.make("SES-20261120-001", 7, 0)
        'child:SES-20261120-001:7:0'
        """
        return self._blank.format(*parts)

    def fits(self, key: str) -> bool:
        """Say whether a key could have been made from this form.

        >>> OwnKey.TRIGGER.fits("trigger/alerts/17"), OwnKey.TRIGGER.fits("trigger/alerts")
        (True, False)
        """
        return self._pattern.fullmatch(key) is not None


def check_callers_key(key: str | None) -> str | None:
    """Return a key that came from outside, unchanged; raise InputError for one that could be Baton's own.

    >>> check_callers_key("order-17"), check_callers_key(None)
    ('order-17', None)
    """
    if key is not None and any(form.fits(key) for form in OwnKey):
        raise InputError(f"idempotency key {key[:200]!r}: keys of this form are Baton's own; use another one")
    return key
