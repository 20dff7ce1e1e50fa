"""Baton as an MCP server: tools and resources over `client` and `operations`, a role for each, sessions as MCP tasks.

`server.build_server(desk)` gives the server; `baton mcp` serves it on stdio, `mount.mount_mcp(app)` at /mcp of the HTTP API. Nothing
here decides anything about sessions. Importing this package alone costs nothing: fastmcp comes with its modules.
"""

import logging
import os

# Read by fastmcp when it is imported. Its own handler prints tracebacks with source lines past every redaction; and a
# .env file in the working directory must not change how it behaves.
os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
os.environ.setdefault("FASTMCP_ENV_FILE", os.devnull)
os.environ.setdefault("FASTMCP_TELEMETRY_MODE", "propagation_only")

_library = logging.getLogger("fastmcp")
_library.addHandler(logging.NullHandler())
_library.propagate = False  # what a tool of ours raised is logged by us, once
