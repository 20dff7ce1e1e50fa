"""Tools that leave a line in a file outside the store for everything that they do."""

import os
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError


def _note(line: str) -> None:
    ledger = os.environ.get("HOOKED_LEDGER")
    if ledger:
        with Path(ledger).open("a") as file:
            file.write(line + "\n")


def register(mcp_app: FastMCP, cfg: dict[str, object]) -> None:
    """Offer the tools."""

    @mcp_app.tool
    def look(value: object) -> dict[str, object]:
        _note(f"look {value}")
        if value == "broken":
            raise ToolError("nothing to see")
        return {"value": value}

    @mcp_app.tool
    def strike(target: str) -> dict[str, str]:
        _note(f"strike {target}")
        return {"struck": target}

    @mcp_app.tool
    def danger(target: str) -> dict[str, str]:
        _note(f"danger {target}")
        return {"target": target}

    @mcp_app.tool
    def put(value: str, idempotency_key: str) -> dict[str, str]:
        _note(f"put {value}")
        return {"value": value}

    @mcp_app.tool
    def finish(word: str) -> dict[str, str]:
        return {"word": word}
