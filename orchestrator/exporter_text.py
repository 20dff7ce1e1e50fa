"""Prometheus' text format: families of samples, with their names, labels and values written as it asks. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = Mapping[str, str]

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(slots=True)
class Family:
    """One metric: its name, what it means, and its samples. A counter's name ends in `_total`."""

    name: str
    kind: Kind
    meaning: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, labels: Labels | None = None, *, suffix: str = "") -> None:
        """Add a sample.

        >>> family = Family("baton_x", "gauge", "…")
        >>> family.add(2, {"app": 'a"b'})
        >>> family.lines
        ['baton_x{app="a\\\\"b"} 2']
        """
        told = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in (labels or {}).items())
        self.lines.append(
            f"{self.name}{suffix}{{{told}}} {number(value)}" if told else f"{self.name}{suffix} {number(value)}"
        )

    def add_histogram(self, buckets: Iterable[tuple[float, int]], total: float, labels: Labels) -> None:
        """Add one histogram: upper bounds with how many fell into each (not yet summed up), and the sum of all values."""
        count = 0
        for bound, inside in buckets:
            count += inside
            self.add(count, {**labels, "le": number(bound)}, suffix="_bucket")
        self.add(total, labels, suffix="_sum")
        self.add(count, labels, suffix="_count")


def number(value: float) -> str:
    """Write a number: whole ones without a point, the infinite as the format wants it.

    >>> number(3.0), number(0.25), number(float("inf")), number(12345678901)
    ('3', '0.25', '+Inf', '12345678901')
    """
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def write(families: Iterable[Family]) -> str:
    """Return the page; a family without a sample is left out."""
    blocks = (
        "\n".join((f"# HELP {one.name} {one.meaning}", f"# TYPE {one.name} {one.kind}", *one.lines))
        for one in families
        if one.lines
    )
    return "".join(f"{block}\n" for block in blocks)
