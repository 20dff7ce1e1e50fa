"""Always fails, with a reason."""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext, PluginError


class Plugin(Base):
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        path.write_text("half")
        raise PluginError("it fails always")
