"""A plugin that does nothing, for a process that waits to become one: what it has done once, it finds at hand (runner.py)."""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext


class Plugin(Base):
    """Takes every file, and leaves it."""

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Say yes."""
        del path, variables
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Do nothing."""
        del path, ctx
