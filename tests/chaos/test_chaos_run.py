"""A short run, in the suite: the same code as `./baton chaos`, a few seconds of it.

`CHAOS_SEED=… pytest tests/chaos` draws other faults; `./baton chaos --seconds 600 --seed …` is the long one.
"""

import os

import pytest

from orchestrator.embedded_binary import bundled_path
from tests.chaos.__main__ import parse
from tests.chaos.plan import OUTSIDE, SCHEDULERS, WORKERS, kinds_of, make_plan
from tests.chaos.report import describe, render
from tests.chaos.run import Options, Outcome, run

SEED = int(os.environ.get("CHAOS_SEED", "20261121"))


def tell(outcome: Outcome) -> str:
    """Return what there is to know of a run that broke a promise."""
    return f"{render(describe(outcome))}\n{outcome.logs}"


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")
def test_a_stack_that_is_broken_keeps_its_promises() -> None:
    """Everything at once for some seconds, and a store that waits for its disk: then not even a power cut may take what
    somebody outside relies on.
    """  # noqa: D205 - one sentence
    outcome = run(Options(seed=SEED, seconds=10, sessions=10, durability="wait", power_cuts=1))

    assert outcome.wrong == [], tell(outcome)
    assert outcome.ledger.ended == 10
    assert outcome.operations > 500
    assert len(outcome.cuts) == 1
    assert [line for line in outcome.lost if "commit" not in line] == []


def test_a_seed_draws_the_same_faults_again() -> None:
    """A failing seed must replay; another seed must be something else."""
    plan = make_plan(7, 60, lease_seconds=3)

    assert plan == make_plan(7, 60, lease_seconds=3)
    assert plan != make_plan(8, 60, lease_seconds=3)


def test_a_plan_strikes_everybody_and_everything() -> None:
    """Over some seeds every kind of fault is drawn, and every place is struck; nothing lasts over three leases."""
    faults = [fault for seed in range(20) for fault in make_plan(seed, 60, lease_seconds=3)]

    assert {fault.what for fault in faults} == set(kinds_of("server"))
    assert {fault.slot for fault in faults} == {*WORKERS, *SCHEDULERS, OUTSIDE, ""}
    assert max(fault.lasts for fault in faults if fault.what == "stop") > 6
    assert max(fault.lasts for fault in faults) <= 9


def test_only_what_is_asked_for_strikes() -> None:
    """To find out which kind of fault it is that breaks something."""
    plan = make_plan(1, 60, lease_seconds=3, only=frozenset({"kill", "power"}), power_cuts=3)

    assert {fault.what for fault in plan} == {"kill", "power"}
    assert sum(fault.what == "power" for fault in plan) == 3


def test_the_command_line_means_what_it_says() -> None:
    """And refuses a fault that is not there."""
    _, options = parse(["--seconds", "90", "--seed", "4", "--durability", "wait", "--only", "kill,cut"])

    assert options == Options(seed=4, seconds=90, durability="wait", only=frozenset({"kill", "cut"}))
    with pytest.raises(SystemExit):
        parse(["--only", "earthquake"])
