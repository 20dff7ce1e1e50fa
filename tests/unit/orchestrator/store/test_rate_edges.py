"""The arithmetic of rates, circuits and holds, exactly: what is kept, in which unit, and what is refused.

Waits of days are asked for, so that a wrong factor shows and the moment of asking does not.
"""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.store.access import Rates
from orchestrator.store.keys import model_key
from tests.property.store_lab import Lab

KEY = model_key("p")
DAY_MS = 86_400_000
#: How long a test may have taken, in ms.
SLACK = 60_000


def act(lab: Lab, name: str, *words: str | int) -> list[Any]:
    """Do an act on the provider's hash."""
    return lab.run(lab.store.act_on_key(name, KEY, *words))


def admit(lab: Lab, *buckets: str | int, reserve: int = 0, mark: str = "m", probe_ms: int = 10 * DAY_MS) -> list[Any]:
    """Ask for the service `s`; a bucket is its name, units, interval in us, capacity, and 1 where it is shared."""
    return act(lab, "admit", "s", mark, reserve, probe_ms, *buckets)


def report(
    lab: Lab,
    outcome: str,
    *buckets: str | int,
    sign: str = "",
    hold_ms: int = 0,
    threshold: int = 0,
    open_ms: int = 0,
    request: str = "",
) -> list[Any]:
    """Report on the service `s`; a bucket is its name, interval in us, units charged and used."""
    return act(lab, "report", "s", outcome, sign, hold_ms, threshold, open_ms, request or uuid4().hex, *buckets)


def kept(lab: Lab) -> dict[str, str]:
    """Return the provider's hash."""
    flat = lab.run(lab.store.command("HGETALL", KEY))
    return dict(zip(flat[::2], flat[1::2], strict=True))


def is_in(lab: Lab, time: str, ms: int) -> bool:
    """Say whether a kept time (us) is so many ms from now."""
    return (ms - SLACK) * 1_000 < int(time) - now_us(lab) <= ms * 1_000


def is_about(found: object, ms: int) -> bool:
    """Say whether an answer is a wait of so many ms, counted from a moment ago."""
    return ms - SLACK < int(str(found)) <= ms


def now_us(lab: Lab) -> int:
    """Return the server's time in microseconds."""
    seconds, micros = lab.run(lab.store.command("TIME"))
    return int(seconds) * 1_000_000 + int(micros)


def test_times_are_kept_in_the_servers_microseconds(one: Lab) -> None:
    """One act writes what the other compares: both mean the same moment, to the microsecond."""
    begun = now_us(one)
    admit(one, *("b", 1, 5_000, 1, 0))
    report(one, "failed", sign="x", hold_ms=7, threshold=1, open_ms=9)
    over = now_us(one)

    times = kept(one)
    assert begun <= int(times["rate:b"]) - 5_000 <= over
    assert begun <= int(times["hold:s"]) - 7_000 <= over
    assert begun <= int(times["open:s"]) - 9_000 <= over


BUCKET = ("b", 1, 1_000, 5, 0)


@pytest.mark.parametrize("at", [1, 2, 3, 6, 7, 8])
@pytest.mark.parametrize("bad", ["", "x", "-1", "1.5"])
def test_a_question_with_a_number_that_is_none_changes_nothing(one: Lab, at: int, bad: str) -> None:
    """Units, interval and capacity of each bucket are looked at before the first is charged."""
    words: list[str | int] = [*BUCKET, "c", *BUCKET[1:]]
    words[at] = bad

    assert admit(one, *words)[0] == "malformed"
    assert kept(one) == {}


def test_a_question_or_a_report_of_half_a_bucket_changes_nothing(one: Lab) -> None:
    """A word too few would shift all that follow."""
    for cut in range(1, 5):
        assert admit(one, *BUCKET, *BUCKET[:cut])[0] == "malformed"
    assert admit(one, probe_ms=-1)[0] == "malformed"
    assert admit(one, *BUCKET, probe_ms=-1)[0] == "malformed"
    for cut in range(1, 4):
        assert report(one, "answered", *("b", 1, 1, 1)[:cut])[0] == "malformed"
    for wrong in ({"hold_ms": -1}, {"threshold": -1}, {"open_ms": -1}):
        assert report(one, "failed", **wrong)[0] == "malformed"
    assert kept(one) == {}


@pytest.mark.parametrize("at", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("bad", ["", "x", "-1", "1.5"])
def test_a_report_with_a_number_that_is_none_changes_nothing(one: Lab, at: int, bad: str) -> None:
    """What was charged would be given back twice, or never."""
    words: list[str | int] = ["b", 1, 1, 1, "c", 1, 1, 1]
    words[at] = bad

    assert report(one, "failed", *words, sign="x", threshold=1)[0] == "malformed"
    assert kept(one) == {}


def test_a_rate_is_charged_what_was_asked_for_at_its_own_pace(one: Lab) -> None:
    """Three units of one day each on a bucket that holds four: then one more goes, and the next waits for its day."""
    bucket = ("b", 3, DAY_MS * 1_000, 4, 0)

    assert admit(one, *bucket) == ["admitted", 0, 0]
    assert is_in(one, kept(one)["rate:b"], 3 * DAY_MS)
    assert admit(one, "b", 1, DAY_MS * 1_000, 4, 0) == ["admitted", 0, 0]
    said, ms = admit(one, *bucket)
    assert said == "limited"
    assert is_about(ms, 3 * DAY_MS)
    assert is_in(one, kept(one)["rate:b"], 4 * DAY_MS)


def test_of_several_rates_the_slowest_decides_and_none_is_charged_for_a_no(one: Lab) -> None:
    """A call that may not go takes nothing from anybody; with a place reserved, all begin when it goes, but what is shared now."""
    day = DAY_MS * 1_000
    admit(one, "slow", 5, day, 5, 0)
    before = kept(one)
    both = ("quick", 1, 1_000, 5, 0, "slow", 2, day, 5, 0, "all", 1, day, 9, 1)

    said, ms = admit(one, *both)
    assert said == "limited"
    assert is_about(ms, 2 * DAY_MS)
    assert kept(one) == before

    said, ms = admit(one, *both, reserve=1)
    assert said == "reserved"
    assert is_about(ms, 2 * DAY_MS)
    now = kept(one)
    assert is_in(one, now["rate:quick"], 2 * DAY_MS + 1)
    assert is_in(one, now["rate:slow"], 7 * DAY_MS)
    assert is_in(one, now["rate:all"], DAY_MS)
    assert is_about(one.run(one.store.command("PTTL", KEY)), 3 * DAY_MS + 1)


def test_what_is_known_of_a_provider_goes_a_day_after_it_was_used(one: Lab) -> None:
    """A longer time that something else asked for stays."""
    admit(one)
    assert is_absent(one)
    admit(one, *BUCKET)
    assert is_about(one.run(one.store.command("PTTL", KEY)), DAY_MS)
    report(one, "failed", sign="x", hold_ms=2 * DAY_MS, threshold=1, open_ms=DAY_MS)
    assert is_about(one.run(one.store.command("PTTL", KEY)), 3 * DAY_MS)
    report(one, "failed", sign="x", hold_ms=DAY_MS, threshold=1, open_ms=4 * DAY_MS)
    assert is_about(one.run(one.store.command("PTTL", KEY)), 5 * DAY_MS)
    one.run(one.store.command("HDEL", KEY, "hold:s", "open:s"))
    admit(one, *BUCKET)
    assert is_about(one.run(one.store.command("PTTL", KEY)), 5 * DAY_MS)
    report(one, "answered")
    assert is_about(one.run(one.store.command("PTTL", KEY)), 5 * DAY_MS)
    assert admit(one, "c", 1, 3_600_000_000, 1, 0, reserve=1) == ["admitted", 0, 0]
    assert admit(one, "c", 1, 3_600_000_000, 1, 0, reserve=1)[0] == "reserved"
    assert is_about(one.run(one.store.command("PTTL", KEY)), 5 * DAY_MS)


def is_absent(lab: Lab) -> bool:
    """Say whether nothing is kept: who asked without a rate, and was admitted, left no trace."""
    return bool(lab.run(lab.store.command("EXISTS", KEY)) == 0)


def test_a_hold_is_kept_for_as_long_as_it_was_asked_for(one: Lab) -> None:
    """In microseconds, whatever the outcome was; none is kept where none was asked for, and a short one is one."""
    report(one, "unknown")
    assert "hold:s" not in kept(one)
    report(one, "answered", hold_ms=1)
    assert "hold:s" in kept(one)
    report(one, "answered", hold_ms=3 * DAY_MS)
    assert is_in(one, kept(one)["hold:s"], 3 * DAY_MS)

    said, ms, why = admit(one)
    assert (said, why) == ("held", "asked")
    assert is_about(ms, 3 * DAY_MS)


def test_a_circuit_is_open_for_as_long_as_it_was_asked_for(one: Lab) -> None:
    """From the failure that makes the row complete, and from each one behind it."""
    said = [report(one, "failed", sign="x", threshold=2, open_ms=3 * DAY_MS) for _ in range(3)]

    assert said == [["counted", 1], ["opened", 2], ["opened", 3]]
    assert is_in(one, kept(one)["open:s"], 3 * DAY_MS)
    held, ms, why = admit(one)
    assert (held, why) == ("held", "circuit")
    assert is_about(ms, 3 * DAY_MS)


@pytest.mark.parametrize("kind", ["hold", "open", "probe", "rate"])
def test_a_clock_that_has_gone_back_keeps_nobody_for_longer_than_was_asked(one: Lab, kind: str) -> None:
    """By hand, or by a failover to a server that is behind: who then waited for that step would wait for hours or days."""
    rate = ("b", 5, DAY_MS * 1_000, 5)
    match kind:
        case "hold":
            report(one, "unknown", hold_ms=5 * DAY_MS)
        case "open":
            report(one, "failed", threshold=1, open_ms=5 * DAY_MS)
        case "probe":
            report(one, "failed", threshold=1, open_ms=0)
            admit(one, mark="another", probe_ms=5 * DAY_MS)
        case "rate":
            admit(one, *rate, 0)
    before = admit(one, *rate, 0)
    for name, value in kept(one).items():
        us, bar, mark = value.partition("|")
        if us.isdigit() and not name.startswith(("fails", "told")):  # as a clock kept it that was a thousand days ahead
            one.run(one.store.command("HSET", KEY, name, f"{int(us) + 1_000 * DAY_MS * 1_000}{bar}{mark}"))

    said = admit(one, *rate, 0)
    report(one, "unknown")

    assert is_about(before[1], 5 * DAY_MS)
    assert (said[0], said[2:]) == (before[0], before[2:])
    assert is_about(said[1], 5 * DAY_MS)
    assert int(kept(one)["clock"]) <= now_us(one)


def test_a_threshold_of_none_never_opens_and_of_one_opens_at_once(one: Lab) -> None:
    """The settings say so."""
    assert [report(one, "failed", sign="x") for _ in range(3)] == [["counted", 1], ["counted", 2], ["counted", 3]]
    assert report(one, "failed", sign="y", threshold=1, open_ms=1) == ["opened", 1]


def test_a_failed_probe_opens_the_circuit_again_whatever_failed(one: Lab) -> None:
    """It was tried because it had been open; the next may probe only once that is over."""
    report(one, "failed", sign="x", threshold=1, open_ms=DAY_MS)
    one.run(one.store.command("HSET", KEY, "open:s", 1))
    assert admit(one, mark="a") == ["admitted", 1, 1]
    until, mark = kept(one)["probe:s"].split("|")
    assert mark == "a"
    assert is_in(one, until, 10 * DAY_MS)
    said, ms, why = admit(one, mark="b")
    assert (said, why) == ("held", "probing")
    assert is_about(ms, 10 * DAY_MS)

    assert report(one, "failed", sign="other", threshold=9, open_ms=DAY_MS) == ["opened", 1]
    assert "probe:s" not in kept(one)


@pytest.mark.parametrize(("charged", "used", "days"), [(5, 2, 7), (5, 5, 10), (2, 5, 13)])
def test_the_difference_of_what_was_charged_and_used_is_made_good(one: Lab, charged: int, used: int, days: int) -> None:
    """In the bucket that it was charged to, and in each of several."""
    day = DAY_MS * 1_000
    admit(one, "b", 10, day, 10, 0, "c", 10, day, 10, 0)

    assert report(one, "answered", "b", day, charged, used, "c", day, charged, used) == ["closed", 0]
    assert is_in(one, kept(one)["rate:b"], days * DAY_MS)
    assert is_in(one, kept(one)["rate:c"], days * DAY_MS)


def test_a_report_that_is_repeated_counts_once_and_is_answered_as_it_was(one: Lab) -> None:
    """Its answer was lost on the way. Counted twice, a failure would open a circuit too soon, and what a call did not use be let through twice."""
    day = DAY_MS * 1_000
    admit(one, "b", 10, day, 10, 0)
    said = [
        report(one, "failed", "b", day, 5, 2, sign="x", threshold=2, open_ms=DAY_MS, request=name)
        for name in ("0a", "0b", "0a", "0b", "0a")
    ]

    assert said == [["counted", 1], ["opened", 2], ["counted", 1], ["opened", 2], ["counted", 1]]
    assert is_in(one, kept(one)["rate:b"], 4 * DAY_MS)
    assert [report(one, "answered", request=name) for name in ("0c", "0c")] == [["closed", 0]] * 2
    assert report(one, "failed", sign="x", threshold=2, request="0b") == ["opened", 2]
    assert "fails:s" not in kept(one)


def test_of_reports_the_last_are_known_and_no_more(one: Lab) -> None:
    """What is kept of them does not grow with a service's age, and one name is not the end of another."""
    said = [report(one, "failed", sign="x", request=f"{number:012x}") for number in range(200)]

    assert said[-1] == ["counted", 200]
    assert len(kept(one)["told:00"]) <= 1_600
    assert report(one, "failed", sign="x", request=f"{150:012x}") == ["counted", 151]
    assert report(one, "failed", sign="x", request="00000097") == ["counted", 201]
    assert report(one, "failed", sign="x", request=f"{0:012x}") == ["counted", 202]


def test_reports_of_all_lanes_are_known_where_the_answers_of_all_are_lost(one: Lab) -> None:
    """A server that is lost takes the answers of every call that ends just then; what two large workers repeat counts once."""
    names = [f"{number * 0x9E3779B97F4A % 2**48:012x}" for number in range(2_048)]

    async def report_all() -> list[Any]:
        words = ("s", "failed", "x", 0, 0, 0)
        return await asyncio.gather(
            *(one.store.act_on_key("report", KEY, *words, name, "b", 1_000, 10, 20) for name in names)
        )

    said, first = one.run(report_all()), kept(one)
    again = one.run(report_all())

    assert (again, kept(one)) == (said, first)
    assert first["fails:s"] == f"{len(names)}|x"


@pytest.mark.parametrize("name", ["", " ", "x", "0a;"])
def test_a_report_without_a_name_changes_nothing(one: Lab, name: str) -> None:
    """It could not be told from another one."""
    words = ("s", "failed", "x", 0, 1, 1, name)

    assert act(one, "report", *words)[0] == "malformed"
    assert act(one, "report", *words[:-1])[0] == "malformed"
    assert kept(one) == {}


def test_what_is_given_back_to_a_rate_at_rest_saves_nothing_up_for_ever(one: Lab) -> None:
    """A bucket has a bottom: a rate that nobody used is as free as one can be."""
    report(one, "answered", "b", DAY_MS * 1_000, 10**8, 0)

    assert int(kept(one)["rate:b"]) == 0


def test_who_asks_more_often_than_the_rate_waits_its_share(one: Lab) -> None:
    """Burst, then the gap, in ms: what the door tells callers to wait."""
    gap = 1_000_000 * DAY_MS  # a thousand days, in us
    said = [one.run(one.store.act_on_partition("limit", 0, "n", gap, 4)) for _ in range(5)]

    assert said[:4] == [["allowed", 3], ["allowed", 2], ["allowed", 1], ["allowed", 0]]
    assert said[4][0] == "limited"
    assert is_about(said[4][1], 1_000 * DAY_MS)


def test_nobody_owes_more_than_a_burst(one: Lab) -> None:
    """What says so was set by a clock that has gone back since; the first place is free again after one gap."""
    limits = one.store.keys.of_partition("limits", 0)
    one.run(one.store.command("ZADD", limits, 9_000_000_000_000, "n"))
    gap = 1_000_000 * DAY_MS // 100  # ten days, in us

    said, ms = one.run(one.store.act_on_partition("limit", 0, "n", gap, 4))

    assert said == "limited"
    assert is_about(ms, 10 * DAY_MS)


def test_a_rate_without_a_gap_lets_everybody_through(one: Lab) -> None:
    """As many at once as the burst says, every time."""
    assert [one.run(one.store.act_on_partition("limit", 0, "n", 0, 7)) for _ in range(9)] == [["allowed", 7]] * 9


def test_one_a_millisecond_is_not_two(one: Lab) -> None:
    """The finest pace that the clock knows is kept, too."""
    rates = Rates(one.store)

    async def take() -> tuple[int, int]:
        begun = await one.store.now_ms()
        said = await asyncio.gather(*(rates.take("n", per_second=1_000, burst=1) for _ in range(200)))
        return sum(allowed for allowed, _ in said), await one.store.now_ms() - begun

    allowed, took_ms = one.run(take())

    assert allowed <= took_ms + 1
