"""The last hour of a store: rates from totals, ages of lines, percentiles from buckets."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.counters import BUCKETS_MS
from orchestrator.history import SAMPLE_MS, SAMPLES, History, percentile
from orchestrator.store.gauges import AppGauges, Gauges


def look(now: int, steps: int, *, ended: int = 0, first_in_line: int = 0) -> Gauges:
    """Return the store's figures at a moment."""
    app = AppGauges()
    app.first_in_line["steps"] = first_in_line
    counters = {
        "step:tool_calls:succeeded:5": steps,
        "ended:any:fine": ended,
        "spent:tool_calls:succeeded": 7,
        "posted": 3,
    }
    return Gauges(now=now, counters=counters, apps={"any": app})


def test_rates_are_the_changes_of_totals() -> None:
    """Totals alone tell nobody how fast it goes now."""
    history = History()
    for number in range(4):
        history.add(look(1_000_000 + 10_000 * number, 100 + 50 * number, ended=number, first_in_line=1_000_000))

    rates = history.rates()

    assert [(rate.at, rate.steps, rate.ended) for rate in rates] == [
        (1_000_000 + 10_000 * n, 5.0, 0.1) for n in (1, 2, 3)
    ]
    assert [rate.ages["steps"] for rate in rates] == [10.0, 20.0, 30.0]


def test_samples_are_apart_and_bounded() -> None:
    """A page that is looked at every second must not shorten the hour that the charts show, nor grow for ever."""
    history = History()
    for number in range(3 * SAMPLES):
        history.add(look(1_000_000 + number * SAMPLE_MS // 2, number))

    rates = history.rates(points=50)

    assert len(rates) <= 50
    assert rates[-1].at - rates[0].at > 0.9 * (SAMPLES - 1) * SAMPLE_MS


def test_a_store_that_was_emptied_has_no_negative_rate() -> None:
    """After a restore from a backup totals may be smaller than before."""
    history = History()
    history.add(look(1_000_000, 500))
    history.add(look(1_010_000, 20))

    assert [rate.steps for rate in history.rates()] == [0.0]
    assert [one.count for one in history.latencies()] == [20]


def test_latencies_are_those_since_the_first_sample_where_there_are_any() -> None:
    """What was slow last week must not colour today's figures."""
    history = History()
    assert history.latencies() == []
    history.add(look(1_000_000, 1_000))
    before = [one.count for one in history.latencies()]
    history.add(look(1_010_000, 1_010))

    assert before == [1_000]
    assert [(one.kind, one.count) for one in history.latencies()] == [("tool_calls", 10)]


@given(st.lists(st.integers(0, 50), min_size=16, max_size=16).filter(any))
def test_percentiles_grow_with_their_share_and_stay_within_the_buckets(buckets: list[int]) -> None:
    """Whatever was counted: the median is no larger than the 99th percentile, and both are times that can be."""
    found = [percentile(buckets, share) for share in (0.0, 0.5, 0.95, 0.99, 1.0)]

    assert found == sorted(found)
    assert all(0 <= one <= BUCKETS_MS[-1] for one in found)
