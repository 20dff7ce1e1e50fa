"""Check what was asked for: every problem at once, each with what to do. Pure; folders are looked at in files.py."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.contracts.errors import suggest

#: Under which terms a data set may be passed on, as SPDX names them; `proprietary` for none.
LICENSES: Final = (
    "CC0-1.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "ODbL-1.0",
    "ODC-By-1.0",
    "PDDL-1.0",
    "Apache-2.0",
    "MIT",
    "proprietary",
)
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_MOST_UNITS: Final = 500
_UNIT_CHARS: Final = 32


@dataclass(frozen=True)
class Request:
    """What a data set is to be called, and where it comes from and goes to."""

    name: str = ""
    title: str = ""
    creator: str = ""
    license: str = ""
    description: str = ""
    units: Mapping[str, str] = field(default_factory=dict)


def find_problems(request: Request) -> list[str]:
    """Return what is wrong with the variables, as `variable: what; what to do`.

    >>> find_problems(Request(name="My data", title="T", creator="Ann", license="MTI"))[0]
    "name 'My data': not usable as a folder's name; use small letters, digits, - and _, at most 63"
    >>> find_problems(Request(name="a", title="T", creator="Ann", license="MIT"))
    []
    """
    problems = []
    if not _NAME.fullmatch(request.name):
        problems.append(
            f"name {request.name[:80]!r}: not usable as a folder's name; use small letters, digits, - and _, at most 63"
        )
    for variable, text, most in (("title", request.title, 200), ("creator", request.creator, 200)):
        problems += _check_line(variable, text, most)
    if request.description and (len(request.description) > 4_000 or not _is_plain(request.description, "\n\t")):
        problems.append("description: over 4000 characters, or with control characters; shorten it")
    if request.license not in LICENSES:
        problems.append(f"license {request.license[:40]!r}: not one of those that are known; {_hint(request.license)}")
    if len(request.units) > _MOST_UNITS:
        problems.append(f"units: more than {_MOST_UNITS}; leave those out that are in the columns' names")
    for column, unit in list(request.units.items())[:_MOST_UNITS]:
        if not (0 < len(unit) <= _UNIT_CHARS and _is_plain(unit)):
            problems.append(f"units: {column[:80]!r}: no unit of 1 to {_UNIT_CHARS} characters; write e.g. degC")
    return problems


def _check_line(variable: str, text: str, most: int) -> list[str]:
    if not text.strip():
        return [f"{variable}: missing; give one line of text"]
    if len(text) > most or not _is_plain(text):
        return [f"{variable}: over {most} characters, or more than a line; shorten it"]
    return []


def _hint(license_name: str) -> str:
    return suggest(license_name, LICENSES)


def _is_plain(text: str, also: str = "") -> bool:
    return all(char.isprintable() or char in also for char in text)
