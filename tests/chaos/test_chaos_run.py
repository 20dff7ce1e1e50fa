"""A short run, in the suite: the same code as `./baton chaos`, a few seconds of it.

`CHAOS_SEED=… pytest tests/chaos` draws other faults; `./baton chaos --seconds 600 --seed …` is the long one.
"""

import hashlib
import json
import os
from dataclasses import astuple
from itertools import pairwise

import pytest

from orchestrator.embedded_binary import bundled_path
from tests.chaos.__main__ import parse
from tests.chaos.plan import (
    API,
    ASKED,
    FRONT,
    OUTSIDE,
    SCHEDULERS,
    SHARDS,
    WORKERS,
    StoreKind,
    kinds_of,
    make_plan,
    shard_of,
)
from tests.chaos.report import describe, render
from tests.chaos.run import Options, Outcome, run

SEED = int(os.environ.get("CHAOS_SEED", "20261121"))
#: Of the plans of seeds 1-6 at 60 and at 600 s, over one server: of what was drawn before there was an API, and of what strikes that.
PLANS_DIGEST = "f56dc0b6378e0ec2556bb7e80dfea941c929a5743019d80c4f08a29d284e40a4"
API_PLANS_DIGEST = "d092e7cd7d308933c917da3a1b5b21e5c1f8fe7a9beeef190591be50272eee85"
#: A run that judged fewer judged hardly anything: ten sessions make some 400 to 500, on a machine of any speed.
COMMITS = 200
#: The same of what was acknowledged and read over HTTP: five of ten sessions and six visits make some 120 acts.
ACTS = 50


def tell(outcome: Outcome) -> str:
    """Return what there is to know of a run that broke a promise."""
    return f"{render(describe(outcome))}\n{outcome.logs}"


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")
def test_a_stack_that_is_broken_keeps_its_promises() -> None:
    """Everything at once for some seconds, and a store that waits for its disk: then not even a power cut may take what
    somebody outside relies on.
    """  # noqa: D205 - one sentence
    outcome = run(Options(seed=SEED, seconds=10, sessions=10, durability="wait", power_cuts=1))

    assert outcome.wrong == [], tell(outcome)
    assert outcome.ledger.ended == 10
    assert outcome.acknowledged > COMMITS
    assert len(outcome.cuts) == 1
    assert [line for line in outcome.lost if "commit" not in line] == []
    http = outcome.http.counts
    assert API in {fault.slot for fault in outcome.struck}
    assert http["acknowledged"] > ACTS and http["reads"] > ACTS
    assert http["followed_connections"] > http["followed"] and http["followed_entries"] > http["followed"]


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")
@pytest.mark.parametrize("store", ["cluster", "sentinel"])
def test_masters_that_die_or_hang_take_nothing_that_somebody_relies_on(store: StoreKind) -> None:
    """A replica is waited for, so that a failover in the middle of everything else takes commits that nobody has seen, at
    most - also where the old master answers beside its successor for a while, or was split off from all but its clients.
    """  # noqa: D205 - one sentence
    outcome = run(Options(seed=SEED, seconds=22, sessions=10, durability="wait", store=store))

    assert outcome.wrong == [], tell(outcome)
    assert outcome.ledger.ended == 10
    assert outcome.acknowledged > COMMITS
    assert {"failover", "hang", "split"} <= {cut.what for cut in outcome.cuts}
    assert [line for line in outcome.lost if "commit" not in line] == []
    assert "CROSSSLOT" not in outcome.refused


def test_a_seed_draws_the_same_faults_again() -> None:
    """A failing seed must replay; another seed must be something else."""
    plan = make_plan(7, 60, lease_seconds=3)

    assert plan == make_plan(7, 60, lease_seconds=3)
    assert plan != make_plan(8, 60, lease_seconds=3)


def test_a_plan_strikes_everybody_and_everything() -> None:
    """Over some seeds every kind of fault is drawn, and every place is struck; nothing lasts over three leases."""
    faults = [fault for seed in range(20) for fault in make_plan(seed, 60, lease_seconds=3)]

    assert {fault.what for fault in faults} == set(kinds_of("server")) - ASKED
    assert {fault.slot for fault in faults} == {*WORKERS, *SCHEDULERS, API, FRONT, OUTSIDE, ""}
    assert max(fault.lasts for fault in faults if fault.what == "stop") > 6
    assert max(fault.lasts for fault in faults) <= 9


@pytest.mark.parametrize(("store", "shards"), [("cluster", SHARDS), ("sentinel", 1)])
def test_over_several_servers_masters_fail_one_after_another(store: StoreKind, shards: int) -> None:
    """Every master is drawn, with time to recover in between, and nothing that only a single server can suffer; everybody's
    network is, that of those outside too.
    """  # noqa: D205 - one sentence
    plans = [make_plan(seed, 60, lease_seconds=3, store=store) for seed in range(20)]
    faults = [fault for plan in plans for fault in plan]
    takeovers = {"failover", "hang", "split"}
    struck = [[fault for fault in plan if fault.what in takeovers] for plan in plans]
    networks = {fault.slot for fault in faults if fault.what in {"cut", "freeze", "deafen", "slow"}}

    assert {fault.what for fault in faults} == set(kinds_of(store)) - ASKED
    assert networks == {*WORKERS, *SCHEDULERS, API, FRONT, OUTSIDE}
    assert not {OUTSIDE, FRONT} & {fault.slot for fault in faults if fault.what in {"kill", "stop", "clock"}}
    assert API in {fault.slot for fault in faults if fault.what == "kill"}
    assert {fault.slot for some in struck for fault in some} == {shard_of(number) for number in range(shards)}
    assert all(len(some) == 3 and {fault.what for fault in some} == takeovers for some in struck)
    assert min(later.at - one.at for some in struck for one, later in pairwise(some)) > 5
    assert plans[7] == make_plan(7, 60, lease_seconds=3, store=store)


def test_a_single_server_is_struck_as_it_always_was() -> None:
    """A seed that failed once must draw the same faults in a year, whatever else can be drawn by then."""
    plans = [make_plan(seed, seconds, lease_seconds=3) for seed in range(1, 7) for seconds in (60, 600)]

    def digest(*, of_the_api: bool) -> str:
        told = [[astuple(fault) for fault in plan if (fault.slot in {API, FRONT}) == of_the_api] for plan in plans]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    assert digest(of_the_api=False) == PLANS_DIGEST
    assert digest(of_the_api=True) == API_PLANS_DIGEST


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--store", "cluster", "--only", "kill,power"], "--only: power cannot happen over --store cluster"),
        (["--store", "sentinel", "--only", "disk"], "--only: disk cannot happen over --store sentinel"),
        (["--only", "hang"], "--only: hang cannot happen over --store server"),
        (["--only", "cut,split"], "--only: split cannot happen over --store server"),
        (["--store", "cluster", "--power-cuts", "2"], "--power-cuts: no power is cut over --store cluster"),
    ],
)
def test_a_fault_that_cannot_happen_over_a_store_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than a run in which it does not strike, and which says that all went well."""
    with pytest.raises(SystemExit) as ended:
        parse(words)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err
