"""Translate the vectors of the kernel into the kernel's own calls, and what they return back.

`SECTIONS` maps the name of a vector file to a function from a case's `in` to what must equal its
`out` as parsed JSON, every timestamp replaced by "<ts>". It only translates: a rule found here is
a defect. Importable by its path alone, with the project's root on sys.path.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

Section: TypeAlias = Callable[[Any], Any]

#: Vector file without its ending → what computes a case.
SECTIONS: dict[str, Section] = {}


def section(name: str) -> Callable[[Section], Section]:
    """Name the vector file that a function answers for."""

    def register(function: Section) -> Section:
        SECTIONS[name] = function
        return function

    return register


# --- hooks: emit, collect, process, redact, truncate, sanitize ---------------------------------

# --- errors: cancellation, compute_delay, classify, classify_category, errors, models, tool_result
