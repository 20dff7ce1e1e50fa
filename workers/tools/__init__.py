"""Tools: the MCP servers of an app, called in this process or over a connection.

`toolbox.py` routes a call by its full name, `inprocess.py` runs an app's own servers, `remote.py` keeps a client
open to others, `results.py` turns what a tool answered into bounded JSON. Which calls are allowed, journaled or
tried again is decided elsewhere. Only this package imports fastmcp, and only its modules `inprocess` and `remote`
do so at import time: importing the package alone costs nothing.
"""

import logging
import os

# Read by fastmcp when it is imported. Its own handler prints tracebacks with source lines to stderr, past every
# redaction; and a .env file in the working directory must not change how servers behave.
os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
os.environ.setdefault("FASTMCP_ENV_FILE", os.devnull)
# Spans of tool calls are the step's to make; the trace context still travels to remote servers.
os.environ.setdefault("FASTMCP_TELEMETRY_MODE", "propagation_only")

_library = logging.getLogger("fastmcp")
_library.addHandler(logging.NullHandler())
_library.propagate = False  # what a failing tool raised is logged by us, once and without source lines
