"""What tests of whole sessions share: both kinds of store for some modules, and the environment of a command.

What these modules play on one server, they play on a cluster of three masters too. They are a few, chosen for what they do to
a store together: steps, waits, children, timers, idempotent submissions; forks; the archive that lists, loads and prunes.
The acts themselves are tried on both by the tests of the store.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT
from tests.stage import EVERYTHING

ON_BOTH = frozenset({"test_sessions", "test_forks", "test_archive"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give these modules' tests a URL of each kind."""
    if "store_url" in metafunc.fixturenames and metafunc.module.__name__.rsplit(".", 1)[-1] in ON_BOTH:
        metafunc.parametrize("store_url", ["server", "cluster"], indirect=True)


@pytest.fixture
def env(store_url: str, broker_url: str, tmp_path: Path, ledger: Path) -> Mapping[str, str]:
    """The environment of a command that works with the test's store and the app `everything`, whose ledger it has."""
    del ledger  # it is in the environment
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BATON_REDIS_URL": store_url,
        "BATON_BROKER_URL": broker_url,
        "BATON_STATE_DIR": str(tmp_path / "state"),
        "BATON_APPS_PATH": str(EVERYTHING.parent),
        "BATON_APPS_BUNDLED": "false",
        **dict.fromkeys(("BEARER_SECRET", "OLD_SECRET", "NEW_SECRET"), "whsec_" + "c2VjcmV0" * 6),
    }
