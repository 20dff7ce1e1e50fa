"""A plugin that changes nothing, for a process that waits to become one: what it has done once, it finds at hand (runner.py)."""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext


class Plugin(Base):
    """Does what many plugins do."""

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Say whether there is something to do."""
        del path
        return bool(variables["models"])

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Make a model."""
        del ctx
        from pydantic import BaseModel  # it is loaded, or this is not called

        class Model(BaseModel):
            name: str
            number: int = 0
            parts: list[str] = []

        Model.model_validate({"name": path.name}).model_dump_json()
