"""Turn `baton submit dataset_intake --data DIR …` into one submission.

The options are this app's own; the form is that of `orchestrator.contracts.demo`. What is wrong with the variables is found
here already, so that nobody waits for a session to hear it; the session checks again what it was given.
"""

import getpass
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import InputError, suggest

from .request import LICENSES, Request, find_problems
from .state import IntakeState

OPTIONS: Final = {
    "data": "the folder with the data",
    "into": "the folder that the project is published to (default: datasets, in the current one)",
    "name": "the project's folder (default: after the data's)",
    "title": "one line (default: the name)",
    "creator": "who made the data (default: you)",
    "license": f"one of {', '.join(LICENSES)} (default: proprietary)",
    "description": "what the data is",
    "units": "units that no column names, as temp=degC,mass=g",
}


def submissions(options: Mapping[str, str]) -> list[Submission]:
    """Return the one submission; raise InputError."""
    for name in options:
        if name not in OPTIONS:
            raise InputError(f"option --{name.replace('_', '-')}: not one of this app's; {suggest(name, OPTIONS)}")
    if not options.get("data"):
        raise InputError("option --data: missing; give the folder with the data")
    return [submission(options, Path(options.get("into") or "datasets"))]


def submission(options: Mapping[str, str], into: Path) -> Submission:
    """Return the submission of a folder; raise InputError for what the session would reject."""
    data = Path(options["data"]).expanduser().resolve()
    if not data.is_dir():
        raise InputError(f"option --data {options['data'][:200]}: no such folder; give the folder with the data")
    name = options.get("name") or make_name(data.name)
    request = Request(
        name=name,
        title=options.get("title") or name,
        creator=options.get("creator") or _user(),
        license=options.get("license") or "proprietary",
        description=options.get("description") or "",
        units=read_units(options.get("units") or ""),
    )
    if problems := find_problems(request):
        raise InputError(f"option --{problems[0]}")
    state = IntakeState(
        source=str(data),
        projects=str(into.expanduser().resolve()),
        name=request.name,
        title=request.title,
        creator=request.creator,
        license=request.license,
        description=request.description,
        units=dict(request.units),
    )
    text = f"Take in {data} as {name}"
    return Submission(text=text, overrides=state.model_dump(mode="json", exclude_defaults=True), title=text[:100])


def make_name(folder: str) -> str:
    """Return a project's name after a folder's.

    >>> make_name("My Data (2026)"), make_name("__")
    ('my-data-2026', 'dataset')
    """
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:63].strip("-") or "dataset"


def read_units(text: str) -> dict[str, str]:
    """Return units by column; raise InputError.

    >>> read_units("temp=degC, mass=g")
    {'temp': 'degC', 'mass': 'g'}
    """
    units = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        column, mark, unit = part.rpartition("=")
        if not (mark and column.strip() and unit.strip()):
            raise InputError(f"option --units {part[:80]!r}: not understood; write column=unit, with commas between")
        units[column.strip()] = unit.strip()
    return units


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a process of nobody's
        return "unknown"
