"""`baton api` as a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

COMMAND = (sys.executable, "-P", "-m", "orchestrator.interfaces.cli.main")


@contextmanager
def api_process(
    env: Mapping[str, str], *args: str, err: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Lend a running `baton api` and what it said."""
    child = subprocess.Popen(
        [*COMMAND, "api", "--port", "0", "-o", "json", *args], env=env, stdout=subprocess.PIPE, stderr=err, text=True
    )
    try:
        assert child.stdout is not None
        yield child, json.loads(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()
