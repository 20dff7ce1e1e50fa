"""What tests of commands share: the environment of one that works with the test's store and apps."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT
from tests.stage import EVERYTHING


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
