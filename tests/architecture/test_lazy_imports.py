"""`baton --help` starts light: none of the heavy libraries is loaded before a command needs it."""

import subprocess
import sys

import pytest

from tests.architecture.source_tree import ROOT

HEAVY = (
    *("celery", "kombu", "fastmcp", "mcp", "starlette", "fastapi", "joserfc", "uvicorn"),
    *("sqlalchemy", "opentelemetry", "workers"),
)
#: Prints what is loaded once the help is written, whichever way the command ends.
REPORT = """
import runpy, sys
sys.argv = ["baton", *{args!r}]
try:
    runpy.run_module("orchestrator.interfaces.cli.start", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert end.code in (None, 0), end.code
print("LOADED", *sorted(name for name in {heavy!r} if name in sys.modules))
"""


@pytest.mark.parametrize(
    "args", [["--help"], ["submit", "--help"], ["list", "--help"], ["mcp", "--help"]], ids=" ".join
)
def test_help_loads_no_heavy_library(args: list[str]) -> None:
    """A command line that takes a second to say what it can do is not used."""
    code = REPORT.format(args=args, heavy=HEAVY)

    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_a_scheduler_needs_no_protocol_for_agents() -> None:
    """It decides for everybody, and starts where nothing else does."""
    code = (
        "import sys, orchestrator.scheduler, orchestrator.client; print(sorted({'fastmcp', 'mcp'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
