"""Finds the unit of every numeric column, and asks a person for those that nobody has named.

It reads the tables' profiles, so it runs after them. A unit is taken from the request's `units`, from the column's name, or
from an answer; the same name in several tables is asked for once. What it knows is written to metadata/units.json.
"""

import json
from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext, PluginInputRequired

from .naming import find_unit, is_unitless
from .prompting import MOST_FIELDS, field_id, make_field

PROFILES = "metadata/profiles"
TARGET = "metadata/units.json"
_MOST_ASKED = 32
_UNKNOWN = "unknown"


class Plugin(Base):
    """Collects numeric columns from the profiles; asks, or writes, at the first moment when all are known."""

    optional_variables = ("units",)

    def pre_transform_all(self, ctx: PluginContext) -> None:
        """Settle every column's unit; raise PluginInputRequired for those that are nowhere."""
        columns = _read_columns(ctx.dst_root / PROFILES)
        given = {str(name): str(unit) for name, unit in (ctx.variables.get("units") or {}).items()}
        told: dict[str, Any] = ctx.variables.get("__extra_inputs__") or {}
        wanted = list(dict.fromkeys(name for _, name in columns if _settle(name, given, {}) is None))
        open_ones = [name for name in wanted[:_MOST_ASKED] if field_id(name, wanted) not in told]
        if open_ones and not ctx.dry_run:
            asked = open_ones[:MOST_FIELDS]
            tables = sorted({file for file, name in columns if name in asked})
            raise PluginInputRequired(
                [
                    make_field(name, field_id(name, wanted), [file for file, one in columns if one == name])
                    for name in asked
                ],
                f"{len(open_ones)} numeric column{'s' if len(open_ones) > 1 else ''} without a unit in "
                f"{', '.join(table[:200] for table in tables[:3])}{' and more' if len(tables) > 3 else ''}",
            )
        answers = {name: str(told[field_id(name, wanted)]).strip() for name in wanted if field_id(name, wanted) in told}
        if columns and not ctx.dry_run:
            _write(ctx, columns, given, answers)

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take no file by itself: all columns are settled together."""
        del path, variables
        return False

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Do nothing: it is done before the first file."""


def _settle(name: str, given: dict[str, str], answers: dict[str, str]) -> tuple[str, str] | None:
    """Return a column's unit and who named it; None where nobody has."""
    if unit := given.get(name):
        return unit, "request"
    if is_unitless(name):
        return "1", "name"
    if unit := find_unit(name):
        return unit, "name"
    return (answers[name] or _UNKNOWN, "answer") if name in answers else None


def _write(ctx: PluginContext, columns: list[tuple[str, str]], given: dict[str, str], answers: dict[str, str]) -> None:
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for file, name in columns:
        unit, source = _settle(name, given, answers) or (_UNKNOWN, "nobody")
        tables.setdefault(file, {})[name] = {"unit": unit, "from": source}
        if source == "nobody":
            ctx.log.warning("no unit: more were asked for than a person can answer", file=file, column=name)
    text = json.dumps(tables, indent=2, ensure_ascii=False, sort_keys=True)
    (ctx.dst_root / TARGET).write_text(text + "\n", "utf-8")
    ctx.log.info("settled", columns=len(columns), answers=answers)


def _read_columns(folder: Path) -> list[tuple[str, str]]:
    """Return table and name of each numeric column, in the tables' order."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        profile = json.loads(path.read_text("utf-8"))
        found += [
            (str(profile["file"]), str(column["name"]))
            for column in profile.get("columns", ())
            if column["type"] in {"integer", "number"}
        ]
    return found
