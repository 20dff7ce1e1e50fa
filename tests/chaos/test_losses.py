"""What a failover may have taken, and what is found to be gone: a loss has to be explained by a bound that was measured."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.embedded import RunningServer
from orchestrator.settings import Settings
from orchestrator.store.cluster_map import slot_of
from orchestrator.store.keys import Keys
from tests.chaos.cuts import ACT_MS, SLACK_MS, Cut
from tests.chaos.driver import Driver, Told, divide
from tests.chaos.evidence import Evidence, Outside
from tests.chaos.fleet import APPS
from tests.chaos.offsets import Bound, Look, Takeover, find_bound, read_takeover
from tests.chaos.plan import kinds_of
from tests.chaos.run import STORES
from tests.chaos.verdict import judge_run
from tests.stage import Stage

SPLIT = Cut(at=9_000, bytes_lost=7, back_ms=5_000, what="hang", place="shard1", slots=(0, 100), split_at=6_000)


def test_the_last_look_that_the_successor_has_reached_is_the_bound() -> None:
    """What had been answered before it lies in the bytes that are kept; of what came later nobody knows."""
    looks = [Look(100, "a", 10), Look(150, "a", 20), Look(200, "a", 20), Look(250, "a", 31)]

    assert find_bound(looks, Takeover("a", 20)) == Bound(200, 11)
    assert find_bound(looks, Takeover("a", 40)) == Bound(250, 0)


def test_a_history_that_nobody_looked_at_bounds_nothing() -> None:
    """Then everything may be gone, rather than anything be excused by a number of another history."""
    assert find_bound([Look(100, "b", 10)], Takeover("a", 20)) == Bound(0.0, 0)
    assert find_bound([Look(100, "a", 30)], Takeover("a", 20)) == Bound(0.0, 10)


def test_a_new_master_says_what_it_went_on_from() -> None:
    """Its second offset is the first byte that is its own."""
    assert read_takeover({"master_replid2": "a", "second_repl_offset": "21"}) == Takeover("a", 20)


def test_a_cut_explains_what_was_answered_within_it_and_nothing_else() -> None:
    """From its bound on, until the moment from which the old master's answers are its successor's; and acts a little later."""
    assert SPLIT.window == (9_000 + ACT_MS, 5_000 + ACT_MS + SLACK_MS)
    assert SPLIT.since == 4_000 - SLACK_MS
    assert (SPLIT.moments, SPLIT.doubtful) == ([6_000], [(6_000, 9_000)])
    assert (Cut(9_000, 7, 1_000).moments, Cut(9_000, 7, 1_000).doubtful) == ([9_000], [])
    assert Cut(9_000, 7, 1_000).window == (9_000, 1_000 + SLACK_MS)


def test_a_cut_touches_the_sessions_of_its_own_part_of_the_store() -> None:
    """A master that died explains nothing of what another one had."""
    keys = Keys(64)
    slots = {sid: slot_of(keys.of_session("record", sid)) for sid in (f"SES-{number}" for number in range(40))}
    cut = Cut(9_000, 7, 1_000, "failover", "shard0", (0, 5_461))

    assert {sid for sid in slots if cut.touches(sid, keys)} == {sid for sid, slot in slots.items() if slot <= 5_461}
    assert all(Cut(9_000, 7, 1_000).touches(sid, keys) for sid in slots)


def test_every_fault_of_a_store_has_somebody_who_lets_it_happen() -> None:
    """The stores of a run are the ones that a plan can be made for."""
    assert all(store.kind == kind for kind, store in STORES.items())
    assert {"failover", "hang", "split", "cut"} <= set(kinds_of("cluster")) & set(kinds_of("sentinel"))


async def _find(url: str, outside: Path) -> dict[bool, Told]:
    """Let a driver find two losses of a session that was struck, and of one that was not."""
    spec = load_app(APPS / "ledger")
    stage = Stage(url, Settings(), {spec.name: spec})
    driver = Driver(stage.client, outside, seed=1, messages=3, spread_seconds=1, work_seconds=0)
    try:
        await driver.submit(2)
        struck, other = driver.told.values()
        for told in (struck, other):
            await driver._post(told)
            told.posts += ["m98", "m99"]
            told.acknowledged |= {"signal m98": [100.0], "signal m99": [200.0]}
        await driver.find_losses(150.0, lambda sid: sid == struck.session_id)
        return {True: struck, False: other}
    finally:
        await stage.aclose()


def test_a_loss_from_before_a_cut_is_not_explained_by_it(empty_server: RunningServer, tmp_path: Path) -> None:
    """Both are told as lost; but what was acknowledged before anything may be gone was lost by a defect, and so was what
    lies elsewhere.
    """  # noqa: D205 - one sentence
    found = asyncio.run(_find(empty_server.url, tmp_path))

    assert [told.lost for told in found.values()] == [["signal m98", "signal m99"]] * 2
    assert found[True].posts == ["m1"]
    assert found[True].unexplained == ["signal m98"]
    assert found[False].unexplained == ["signal m98", "signal m99"]


def test_of_what_was_acknowledged_twice_the_first_is_gone() -> None:
    """A server that nobody follows was told, and then the question came again: that is one loss, and one answer."""
    told = Told("SES")
    told.permits, told.acknowledged = ["w1", "w1"], {"decision w1": [100.0, 900.0]}

    told.permits, lost = divide(told.permits, ["w1"])
    told.forget("decision", lost, since=500.0)

    assert (told.permits, told.lost, told.unexplained) == (["w1"], ["decision w1"], ["decision w1"])
    assert told.acknowledged == {"decision w1": [900.0]}


@pytest.mark.parametrize("place", [0, 1])
def test_a_run_without_sessions_is_judged_without_complaint(place: int) -> None:
    """Cuts alone are no defect."""
    evidence = Evidence(3, [], Outside())

    found = judge_run(evidence, {}, [SPLIT][:place], keys=Keys(4), lease_ms=3_000, is_safe=True)

    assert (found.wrong, found.lost, found.operations) == ([], [], 0)
