"""Appends its word to every file."""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext


class Plugin(Base):
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        with path.open("a") as file:
            file.write(ctx.variables.get("word", "hello") + "\n")
        ctx.log.info("appended", file=path.name)
