"""Make the question for a column's unit: a choice where its name suggests a quantity, else a text. Pure."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from .naming import guess_units

#: Questions of one prompt; more are asked in the next.
MOST_FIELDS = 8
#: Of a pure number.
NONE = "1"


def field_id(name: str, names: Sequence[str]) -> str:
    """Return the id of a column's question; two names that come to one id differ by a digest.

    >>> field_id("room temp", ["room temp"]), field_id("a b", ["a b", "a_b"])
    ('unit_room_temp', 'unit_a_b_c868')
    """
    slug = _slug(name)
    if sum(_slug(other) == slug for other in names) > 1:
        slug = f"{slug}_{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:4]}"
    return f"unit_{slug}"


def make_field(name: str, identifier: str, tables: Sequence[str]) -> dict[str, Any]:
    """Return the typed question for a column's unit; its default is the likeliest one."""
    label = f"unit of {name!r} in {tables[0]}" + (f" and {len(tables) - 1} more" if len(tables) > 1 else "")
    guessed = guess_units(name)
    if guessed:
        choices = (*guessed, NONE)
        return {
            "id": identifier,
            "label": label[:200],
            "type": "choice",
            "choices": list(choices),
            "default": choices[0],
        }
    return {"id": identifier, "label": f"{label[:160]} ({NONE} for none)", "type": "string", "default": NONE}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:48] or "column"
