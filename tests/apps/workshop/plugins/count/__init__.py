"""Writes how many lines each file has."""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext


class Plugin(Base):
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        (ctx.dst_root / f"{path.stem}.count").write_text(str(len(path.read_text().splitlines())))
