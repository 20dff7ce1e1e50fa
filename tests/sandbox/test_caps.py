"""Each limit of a manifest binds at its number, and is named when it bit: for root's slots and for an ordinary user."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Limits
from plugin_sandbox.settings import SandboxSettings
from tests.sandbox import caps
from tests.sandbox.ordinary import ORDINARY, run_as


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages and workspaces lie."""
    return tmp_path_factory.mktemp("caps")


@pytest.fixture(scope="module")
def settings(shared: Path) -> SandboxSettings:
    """A state folder of its own."""
    return SandboxSettings(state_dir=shared / "state", slots=2)


@pytest.fixture(scope="module")
def sandbox(settings: SandboxSettings) -> Iterator[Sandbox]:
    """One sandbox for all tries."""
    made = Sandbox(settings)
    yield made
    made.close()


@pytest.mark.parametrize("one", caps.TRIES, ids=lambda one: f"{one.cap}-{one.amount}")
def test_a_limit_binds_at_its_number(sandbox: Sandbox, shared: Path, settings: SandboxSettings, one: caps.Try) -> None:
    """One less and as much as allowed is fine; one more is not, and the entry says what it was about."""
    assert caps.find(one, sandbox, shared, settings) == (one.status, one.limit)


@pytest.mark.slow
def test_limits_bind_an_ordinary_users_plugins_alike(home: Path) -> None:
    """Other means do it there: no slot's uid, no control group."""
    said = run_as(ORDINARY, ["caps.py"], home, files=[Path("tests/sandbox/caps.py")])

    found = [json.loads(line) for line in said.splitlines()]

    assert len(found) == len(caps.TRIES)
    assert [one for one in found if one["found"] != [one["status"], one["limit"]]] == []


def test_no_limit_of_the_manifest_is_left_untried() -> None:
    """A limit that is added needs its tries; bytes of the network have theirs where there is a server to carry them to."""
    assert set(Limits.model_fields) - {"network_mb"} <= {one.cap for one in caps.TRIES}
