"""Format, lint and types hold for the whole tree; they are tests, so that CI checks exactly what `make check` does."""

import subprocess
import sys

import pytest

from tests.architecture.source_tree import ROOT


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]],
    ids=["format", "lint", "types"],
)
def test_the_whole_tree_passes(command: list[str]) -> None:
    """What a tool can find, no reviewer should have to."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
