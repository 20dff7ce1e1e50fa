"""Tools that wait, act and block."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastmcp import FastMCP

from ..steps import is_on, pause  # noqa: TID252 - an app's own folder has no name that could be imported


def register(mcp_app: FastMCP[Any], cfg: Mapping[str, Any]) -> None:
    """Offer the tools."""

    @mcp_app.tool
    def danger(target: str) -> dict[str, str]:
        """Ask first."""
        return {"target": target}

    @mcp_app.tool
    async def act() -> dict[str, bool]:
        """Act on the outside; while the fault is on, never come back."""
        with (Path(os.environ["DRILL_FOLDER"]) / "acts").open("a") as file:
            file.write("acted\n")
        while is_on("hang"):
            await pause(0.1)
        return {"acted": True}

    @mcp_app.tool
    async def stall() -> dict[str, bool]:
        """Block the loop again and again while the fault is on: declared async, and waits without awaiting."""
        while is_on("stall"):
            threading.Event().wait(0.9)
            await pause(0.05)
        return {"stalled": True}
