"""What one value of a table is, and what the values of one column come to. Pure."""

import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["missing", "boolean", "integer", "number", "date", "datetime", "text"]

#: What people write where there is no value.
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", "missing"})
_BOOLEANS = frozenset({"true", "false", "yes", "no"})
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d{1,3})?")
#: Zero-padded, they are codes: postal areas, article numbers.
_CODE = re.compile(r"[+-]?0\d+")
_DISTINCT = 1_000
#: Sums and differences of two values below it are still numbers that JSON can write.
_LARGEST = 1e300


def kind_of(text: str, decimal: str = ".") -> Kind:
    """Return what a value is; `decimal` "," lets 1,5 be a number too.

    >>> [kind_of(one) for one in ("12", "1.5e3", "007", "2026-01-02", "2026-01-02T03:04:05Z", "yes", "n/a", "red")]
    ['integer', 'number', 'text', 'date', 'datetime', 'boolean', 'missing', 'text']
    """
    text = text.strip()
    lower = text.lower()
    if lower in MISSING:
        return "missing"
    if _CODE.fullmatch(text):
        return "text"
    if _INTEGER.fullmatch(text):
        return "integer"
    if _NUMBER.fullmatch(text) or (decimal == "," and _COMMA.fullmatch(text)):
        return "number" if abs(float(text.replace(",", "."))) < _LARGEST else "text"
    if lower in _BOOLEANS:
        return "boolean"
    return _kind_of_time(text)


def _kind_of_time(text: str) -> Kind:
    if not (8 <= len(text) <= 40 and text[:4].isdigit() and "-" in text):
        return "text"
    try:
        date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return "date"
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return "text"
    return "datetime"


@dataclass
class Column:
    """What is known of one column so far. Numbers are added up one by one: no column is held in memory."""

    name: str
    decimal: str = "."
    kinds: dict[Kind, int] = field(default_factory=dict)
    count: int = 0
    mean: float = 0.0
    least: float = math.inf  # a whole number stays one, however large
    most: float = -math.inf
    longest: int = 0
    distinct: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        """Take one more value."""
        kind = kind_of(text, self.decimal)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "missing":
            return
        if len(self.distinct) <= _DISTINCT:
            self.distinct.add(text[:200])
        self.longest = max(self.longest, len(text))
        if kind in {"integer", "number"}:
            number = text.strip().replace(",", ".") if self.decimal == "," else text
            value = int(number) if kind == "integer" else float(number)
            self.count += 1
            self.mean += (value - self.mean) / self.count
            self.least, self.most = min(self.least, value), max(self.most, value)

    def choose_type(self) -> Kind:
        """Return the narrowest type that all values have; text where they have none in common."""
        kinds = set(self.kinds) - {"missing"}
        if not kinds:
            return "missing"
        if len(kinds) == 1:
            return kinds.pop()
        if kinds == {"integer", "number"}:
            return "number"
        return "datetime" if kinds == {"date", "datetime"} else "text"

    def describe(self) -> dict[str, Any]:
        """Return the column's profile."""
        kind = self.choose_type()
        told: dict[str, Any] = {
            "name": self.name,
            "type": "empty" if kind == "missing" else kind,
            "missing": self.kinds.get("missing", 0),
            "distinct": len(self.distinct) if len(self.distinct) <= _DISTINCT else f"more than {_DISTINCT}",
        }
        if kind in {"integer", "number"}:
            whole = kind == "integer"
            told["min"] = self.least if whole else float(self.least)
            told["max"] = self.most if whole else float(self.most)
            told["mean"] = float(f"{self.mean:.9g}")
        elif kind == "text":
            told["longest"] = self.longest
        return told
