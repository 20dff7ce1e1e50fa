"""Asks twice, then writes what it was told."""

import json
from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext, PluginInputRequired


class Plugin(Base):
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        return True

    def pre_transform_all(self, ctx: PluginContext) -> None:
        (ctx.dst_root / "begun.txt").write_text("begun")
        told = ctx.variables.get("__extra_inputs__") or {}
        if "unit" not in told:
            raise PluginInputRequired([{"id": "unit", "type": "choice", "choices": ["mm", "in"]}], "which unit?")
        if "rows" not in told:
            fields = [{"id": "rows", "type": "integer"}, {"id": "note", "required": False}]
            raise PluginInputRequired(fields, "how many rows?")

    def transform(self, path: Path, ctx: PluginContext) -> None:
        (ctx.dst_root / "told.json").write_text(json.dumps(ctx.variables["__extra_inputs__"], sort_keys=True))
