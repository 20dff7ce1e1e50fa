"""The figures that are no session's phase: leases, waits, wake-ups under way, dead letters, counters (the rest: test_listing_pages.py)."""

from orchestrator.store.gauges import Gauges, measure
from tests.property.store_lab import Lab

FAR = 9_000_000_000_000


def score(lab: Lab, name: str, *times: int) -> None:
    """Set as many sessions' times in one of the partition's sets."""
    for number, at in enumerate(times):
        lab.run(lab.store.command("ZADD", lab.store.keys.of_partition(name, 0), at, f"S-{number}"))


def figures(lab: Lab) -> Gauges:
    """Measure once."""
    return lab.run(measure(lab.store, ("a",)))


def test_a_store_without_anything_tells_nothing(one: Lab) -> None:
    """Zeros, and not an alarm since 1970."""
    found = figures(one)

    assert found.now > 1_700_000_000_000
    assert (found.leases, found.expired, found.overdue, found.first_overdue) == (0, 0, 0, 0)
    assert (found.sent, found.dead, found.first_dead, found.counters) == (0, 0, 0, {})


def test_what_is_late_is_told_with_since_when_and_what_is_not_is_not(one: Lab) -> None:
    """Alerts stand on these: a wait that will be due is none that nobody woke, and the oldest says how bad it is."""
    score(one, "leases", 1, FAR, FAR)
    score(one, "due", 70, 50, FAR)
    score(one, "sent", 1, FAR)
    score(one, "dead", 90, 80, 85)
    one.run(one.store.command("HSET", one.store.keys.of_partition("stats", 0), "buried:attempts", 3))

    found = figures(one)

    assert (found.leases, found.expired) == (3, 1)
    assert (found.overdue, found.first_overdue) == (2, 50)
    assert (found.sent, found.dead, found.first_dead) == (1, 3, 80)
    assert found.counters == {"buried:attempts": 3}


def test_waits_of_the_future_are_not_overdue(one: Lab) -> None:
    """Every session that waits for next week would look forgotten."""
    score(one, "due", FAR)

    assert (figures(one).overdue, figures(one).first_overdue) == (0, 0)


def test_what_nobody_asked_for_and_what_nobody_knows_is_passed_over(one: Lab) -> None:
    """An app that was removed, and a group of a version to come, must not take the other figures with them."""
    by = one.store.keys.of_partition("by", 0)
    members = ("a:ready:1:9:S-1", "a:ready:p1:8:S-2", "a:new:-:7:S-3", "a:asks/new:-:7:S-3", "b:ready:1:6:S-4")
    one.run(one.store.command("ZADD", by, *(word for member in members for word in (0, member))))

    found = figures(one).apps["a"]

    assert {phase: count for phase, count in found.phases.items() if count} == {"ready": 2}
    assert found.first_in_line == {"steps": 9, "plugins": 8, "finalize": 0}
    assert not any(found.asks.values())


def test_who_asks_a_person_is_counted_by_what_is_asked_with_who_asked_first(one: Lab) -> None:
    """Each kind on its own: an approval that was forgotten must not hide behind a question of today."""
    kinds = (("approval", (5, 4)), ("input", (9, 7, 8)), ("uncertain", (6,)))
    members = [f"a:asks/{kind}:-:{at}:S-{at}" for kind, times in kinds for at in times]
    by = one.store.keys.of_partition("by", 0)
    one.run(one.store.command("ZADD", by, *(word for member in members for word in (0, member))))

    found = figures(one).apps["a"]

    assert found.asks == {"approval": 2, "input": 3, "uncertain": 1}
    assert found.first_asks == {"approval": 4, "input": 7, "uncertain": 6}
    assert not any(found.phases.values())
    assert not any(found.first_in_line.values())
