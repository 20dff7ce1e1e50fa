"""Checks the YAML front matter of data/README.md against the request, and adds the keys that are missing.

What stands there is somebody's own: it is kept as it is, and where it says another license than the request, the run fails.
"""

import json
from pathlib import Path
from typing import Any

from plugin_sandbox.api import FileChange, PluginContext, PluginError
from plugin_sandbox.api import Plugin as Base

from .front_matter import FrontMatterError, add_keys, read_keys

_README = "data/README.md"
_KEYS = ("title", "creator", "license", "description")
_MOST_BYTES = 1_048_576


class Plugin(Base):
    """Works on one file, and leaves every other README alone."""

    required_variables = ("title", "license")
    optional_variables = ("creator", "description")

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take data/README.md; others are documents of their own."""
        del variables
        return path.parts[-2:] == ("data", "README.md")

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Add what is missing."""
        if path != ctx.dst_root / _README:
            return
        text, missing = _look(path, ctx)
        if missing:
            path.write_text(add_keys(text, missing), "utf-8", newline="")
            ctx.log.info("completed", file=_README, added=list(missing))

    def describe_changes(self, path: Path, ctx: PluginContext) -> list[FileChange]:
        """Say what would be added."""
        _, missing = _look(path, ctx)
        return [FileChange(path, "modify", f"adds {', '.join(missing)}")] if missing else []


def _look(path: Path, ctx: PluginContext) -> tuple[str, dict[str, Any]]:
    """Return the README's text and the keys that it lacks; raise PluginError for what contradicts the request."""
    if path.stat().st_size > _MOST_BYTES:
        raise PluginError(f"{_README}: over {_MOST_BYTES} bytes; shorten it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        there = read_keys(text)
    except (UnicodeDecodeError, FrontMatterError) as error:
        raise PluginError(f"{_README}: {error}; mend it") from error
    wanted = {key: ctx.variables[key] for key in _KEYS if ctx.variables.get(key)}
    said = there.get("license", "")
    if said and said.casefold() != str(wanted["license"]).casefold():
        raise PluginError(f"{_README}: says license {said}, the request {wanted['license']}; make them agree")
    wanted |= _measure(ctx.dst_root)
    return text, {key: value for key, value in wanted.items() if key not in there}


def _measure(root: Path) -> dict[str, Any]:
    """Return what is known of the tables: how many, their rows, their columns with units."""
    profiles = [json.loads(path.read_text("utf-8")) for path in sorted((root / "metadata/profiles").rglob("*.json"))]
    tables = [profile for profile in profiles if "columns" in profile]
    if not tables:
        return {}
    path = root / "metadata" / "units.json"
    units = json.loads(path.read_text("utf-8")) if path.exists() else {}
    used = sorted({one["unit"] for columns in units.values() for one in columns.values()} - {"1", "unknown"})
    return {"tables": len(tables), "rows": sum(table["rows"] for table in tables), **({"units": used} if used else {})}
