"""A tool server of its own: `python tool_server.py PORT`."""

import sys

from fastmcp import FastMCP

server: FastMCP[None] = FastMCP("far")


@server.tool
def fetch() -> dict[str, bool]:
    """Fetch something."""
    return {"fetched": True}


if __name__ == "__main__":
    server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False, log_level="ERROR")
