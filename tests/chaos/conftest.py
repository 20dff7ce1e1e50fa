"""What tests of servers that fail get: a folder in which a socket's path is short enough."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.run import make_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """Lend a folder with a short path."""
    with make_folder() as made:
        yield made
