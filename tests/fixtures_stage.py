"""What whole sessions leave outside the store: the ledger of the app `everything`, for the tests that ask for it."""

from pathlib import Path

import pytest


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which the app's tools note what they did."""
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("EVERYTHING_LEDGER", str(path))
    return path
