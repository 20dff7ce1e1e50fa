"""Writes a profile of every table: metadata/profiles/<path of the table>.json."""

import json
from pathlib import Path
from typing import Any

from plugin_sandbox.api import FileChange, PluginContext
from plugin_sandbox.api import Plugin as Base

from .profile import Bounds, profile_table

FOLDER = "metadata/profiles"


class Plugin(Base):
    """Profiles one table after the other; one that is none is told, and stops no other."""

    optional_variables = ("profile_rows", "profile_bytes")

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take every table."""
        del path, variables
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Write the profile of one table."""
        name = path.relative_to(ctx.dst_root).as_posix()
        asked = {"rows": ctx.variables.get("profile_rows"), "bytes": ctx.variables.get("profile_bytes")}
        profile = profile_table(path, Bounds(**{key: value for key, value in asked.items() if value}))
        target = _target(name, ctx)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"file": name, **profile}, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if problem := profile.get("problem"):
            ctx.log.warning("no table", file=name, problem=problem)
        else:
            told = {key: profile[key] for key in ("rows", "truncated")}
            ctx.log.info("profiled", file=name, columns=len(profile["columns"]), **told)

    def describe_changes(self, path: Path, ctx: PluginContext) -> list[FileChange]:
        """Say which profile would be written."""
        return [FileChange(_target(path.relative_to(ctx.dst_root).as_posix(), ctx), "create", "its profile")]


def _target(name: str, ctx: PluginContext) -> Path:
    return ctx.dst_root / FOLDER / f"{name}.json"
