"""One stack serves the whole run, with the test app that has every kind of step.

A test that stops, drains or kills anything starts its own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Baton, run_up


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baton]:
    """Lend the run's stack: one scheduler, one worker."""
    baton = Baton(tmp_path_factory.mktemp("e2e") / "state")
    with run_up(baton, "--workers", "1"):
        yield baton


@pytest.fixture
def baton(tmp_path: Path) -> Baton:
    """Lend commands with an empty state folder."""
    return Baton(tmp_path / "state")
