"""Holds a file of its workspace open, and waits far longer than any test."""

import threading
from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext


class Plugin(Base):
    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        with path.open("a") as file:
            file.write("changed")
            file.flush()
            threading.Event().wait(100)
