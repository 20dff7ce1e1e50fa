"""Tools that leave a line in a file outside the store when they have acted."""

import os
from pathlib import Path

from fastmcp import FastMCP


def _note(line: str) -> dict[str, object]:
    ledger = os.environ.get("HALTING_LEDGER")
    if ledger:
        with Path(ledger).open("a") as file:
            file.write(line + "\n")
    return {"value": int(line.split()[1])}


def register(mcp_app: FastMCP, cfg: dict[str, object]) -> None:
    """Offer the tools."""

    @mcp_app.tool
    async def look(value: int) -> dict[str, object]:
        return _note(f"look {value}")

    @mcp_app.tool
    async def put(value: int, idempotency_key: str) -> dict[str, object]:
        return _note(f"put {value} {idempotency_key}")

    @mcp_app.tool
    async def strike(value: int) -> dict[str, object]:
        return _note(f"strike {value}")

    @mcp_app.tool
    async def guarded(value: int) -> dict[str, object]:
        return _note(f"guarded {value}")
