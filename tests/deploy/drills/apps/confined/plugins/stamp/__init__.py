"""Stamps a file; one that says so makes it hang."""

import threading
from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext


class Plugin(Base):
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        if "hang" in path.read_text():
            threading.Event().wait(60)
        path.write_text("stamped\n")
