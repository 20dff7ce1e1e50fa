"""An MCP server over standard input and output, whose tool ends only when it is cancelled; two files tell of it."""

import os
from pathlib import Path

import anyio
from fastmcp import FastMCP

mcp_app = FastMCP("hands")
FOLDER = Path(os.environ["REACH_FOLDER"])


@mcp_app.tool
async def hold() -> str:
    """Wait for ever."""
    (FOLDER / "begun").touch()
    try:
        await anyio.sleep_forever()
    finally:
        (FOLDER / "stopped").touch()


if __name__ == "__main__":
    mcp_app.run(show_banner=False)
