"""What the tests of hooks share: a ledger outside the store, and a way to play a scene."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hook_stage import Ledger, Play, play_scene


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A file in which hooks and tools note what they did."""
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("HOOKED_LEDGER", str(path))
    return Ledger(path)


@pytest.fixture
def play(store_url: str) -> Callable[[Play], None]:
    """Run a scene on a stage of its own; every session it leaves is what its journal describes."""
    return lambda scene: play_scene(store_url, scene)
