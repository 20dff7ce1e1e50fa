"""Advice follows from figures, and a simulated line from a load: both can be checked by hand."""

import re
from pathlib import Path

import pytest

from orchestrator.scaling import STEP_SERVER_SECONDS, STEP_WORKER_SECONDS, Load, advise
from orchestrator.simulation import Play, find_fewest, play

PERFORMANCE = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "performance.md"
IDLE = Load(pool="steps", workers=2, slots_each=100, running=0, in_line=0)
CALM = Play(sessions=2_000, rate=10, steps=3, step_seconds=1, wait_seconds=0, workers=1, lanes=100, seed=7)


@pytest.mark.parametrize(
    ("change", "desired"),
    [
        ({}, 0),
        ({"running": 150, "in_line": 51}, 3),
        ({"in_line": 1, "oldest_seconds": 31.0}, 3),
        ({"step_rate": 200.0, "step_seconds": 2.0}, 4),
        ({"step_rate": 40_000.0, "step_seconds": 0.0}, 4),
        ({"in_line": 900, "oldest_seconds": 900.0, "paused": True}, 2),
        ({"in_line": 900, "held": 900}, 0),
        ({"in_line": 900, "held": 750, "running": 151}, 4),
    ],
)
def test_each_reason_asks_for_a_number_and_the_greatest_counts(change: dict[str, float], desired: int) -> None:
    """Slots, age, pace and processors run short independently of each other."""
    assert advise(IDLE.model_copy(update=change)).desired_workers == desired


def test_every_reason_is_told() -> None:
    """A number alone is not believed."""
    load = IDLE.model_copy(
        update={"in_line": 9, "held": 4, "oldest_seconds": 99.0, "step_rate": 5.0, "step_seconds": 1.0}
    )

    assert [reason.split(":")[0] for reason in advise(load).reasons] == ["load", "held", "late", "lanes", "cores"]


def test_what_a_step_costs_is_what_was_measured() -> None:
    """The page tells the figures of the benches; nothing here is guessed."""
    found = re.search(r"about (\d+) µs in the server, (\d+) µs in the worker", PERFORMANCE.read_text(encoding="utf-8"))

    assert found is not None
    assert (int(found[1]), int(found[2])) == (round(STEP_SERVER_SECONDS * 1e6), round(STEP_WORKER_SECONDS * 1e6))


def test_a_fleet_that_is_large_enough_has_no_line() -> None:
    """Ten sessions a second of three seconds fill thirty lanes of a hundred."""
    played = play(CALM)

    assert played.line_p99_seconds == 0
    assert played.busy == pytest.approx(0.3, abs=0.04)
    assert sum(row.ended for row in played.rows) == CALM.sessions


def test_a_fleet_that_is_too_small_falls_behind_by_what_is_missing() -> None:
    """Thirty lanes' work on fifteen lanes takes twice the time, and the last one stands in line for half of that."""
    played = play(CALM.model_copy(update={"lanes": 15, "slice_seconds": 60.0}))

    assert played.seconds == pytest.approx(2 * CALM.sessions / CALM.rate, rel=0.05)
    assert played.line_max_seconds == pytest.approx(CALM.sessions / CALM.rate, rel=0.1)
    assert played.busy > 0.98


def test_a_burst_of_steps_that_take_no_time_is_bound_by_processors() -> None:
    """One worker does some ten thousand such steps a second, two some twenty thousand: then the server is the limit."""
    burst = Play(sessions=1_000, rate=0, steps=10, step_seconds=0, wait_seconds=0, workers=1, lanes=256)
    one, two, four = (play(burst.model_copy(update={"workers": number})).seconds for number in (1, 2, 4))

    assert one == pytest.approx(10_000 * STEP_WORKER_SECONDS, rel=0.01)
    assert two == four == pytest.approx(10_000 * STEP_SERVER_SECONDS, rel=0.01)


def test_sessions_that_wait_take_no_lane() -> None:
    """An hour's wait for a person costs nothing: the same lanes do."""
    waits = CALM.model_copy(update={"wait_seconds": 3_600.0, "sessions": 300})

    assert play(waits).line_p99_seconds == 0
    assert play(waits).busy < 0.01


def test_the_fewest_workers_are_found() -> None:
    """Neither one too many nor one too few."""
    load = CALM.model_copy(update={"lanes": 10})
    fewest = find_fewest(load, 1.0)

    assert fewest is not None
    assert play(load.model_copy(update={"workers": fewest})).line_p99_seconds <= 1.0
    assert play(load.model_copy(update={"workers": fewest - 1})).line_p99_seconds > 1.0


def test_the_same_seed_plays_the_same() -> None:
    """Two runs that differ cannot be compared."""
    assert play(CALM) == play(CALM)
