"""Loaded by a .pth of the environment that measures, in each of its interpreters: measures the sandbox's zygote and monitors.

They are started without an environment of variables and with -I, so that nothing but a .pth reaches them. What they start in
turn is measured as far as its figures can be written: up to where a plugin's process leaves the host's tree behind.
"""

import os
import sys
from pathlib import Path

_SWITCH = Path(sys.prefix) / "inside.rc"

if any("plugin_sandbox.inner" in one for one in sys.orig_argv) and _SWITCH.exists():
    os.environ["COVERAGE_PROCESS_START"] = str(_SWITCH)
    import coverage

    coverage.process_startup()
    del os.environ["COVERAGE_PROCESS_START"]
