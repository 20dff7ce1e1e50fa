"""What every test gets: an environment of its own in which no setting of the machine changes a verdict."""

import os

import pytest

pytest_plugins = ["tests.fixtures_server", "tests.fixtures_stage"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take BATON_* away: a shell's own server or apps must not be what a test runs on."""
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        monkeypatch.delenv(name)
