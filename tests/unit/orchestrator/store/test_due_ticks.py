"""One look at a partition: who comes first, who is passed over, how many are busy, and when to look again."""

import pytest

from orchestrator.contracts.errors import StoreError
from orchestrator.store.due import Tick
from tests.property.store_lab import Lab

FAR = 9_000_000_000_000


def put(lab: Lab, *members: str) -> None:
    """Write members of the index (lib/index.lua), each with its number as its time and the end of its id."""
    for number, member in enumerate(members):
        lab.run(lab.store.command("ZADD", of(lab, "by"), 0, f"{member}:{1_700_000_000_000 + number}:S-{number}"))


def of(lab: Lab, name: str) -> str:
    """Return a key of the one partition."""
    return lab.store.keys.of_partition(name, 0)


def score(lab: Lab, name: str, **sessions: int) -> None:
    """Set sessions' times in one of the partition's sets; `s1` is the session S-1."""
    for session, at in sessions.items():
        lab.run(lab.store.command("ZADD", of(lab, name), at, session.replace("s", "S-")))


def times_of(lab: Lab, name: str) -> list[tuple[str, int]]:
    """Return sessions and their times in one of the partition's sets."""
    found = lab.run(lab.store.command("ZRANGE", of(lab, name), 0, -1, "WITHSCORES"))
    return [(session_id, int(at)) for session_id, at in zip(found[::2], found[1::2], strict=True)]


def look(lab: Lab, *apps: str, most: int = 9, each: int = 9, **longest: float) -> Tick:
    """Look once."""
    return lab.run(lab.due.tick(0, apps or ("a",), most=most, each=each, **longest))


def line(tick: Tick) -> list[str]:
    """Return who may be sent, in order."""
    return [one.session_id for one in tick.in_line]


def test_of_each_line_the_first_come_first(one: Lab) -> None:
    """What is settled, what any worker may do, what needs a sandbox: none hides another, and none gets more than its share."""
    kinds = ("finalizing:1", "ready:p1", "ready:1")
    put(one, *(f"a:{kind}" for kind in kinds for _ in range(3)), "b:ready:1")

    assert line(look(one, each=1)) == ["S-0", "S-6", "S-3"]
    assert line(look(one, each=2)) == ["S-0", "S-1", "S-6", "S-7", "S-3", "S-4"]
    assert line(look(one, "b", "a", each=1)) == ["S-9", "S-0", "S-6", "S-3"]


def test_lines_are_the_same_looked_for_at_once_or_one_by_one(one: Lab) -> None:
    """A short line comes with one look, a long one with one for each kind; five members are just enough for both."""
    put(one, "a:ready:0", "a:finalizing:1", "a:ready:p0", "a:ready:1", "a:ready:p1")
    all_of_it = ["S-1", "S-0", "S-3", "S-2", "S-4"]

    assert [line(look(one, each=each)) for each in (4, 5, 6)] == [all_of_it] * 3
    assert line(look(one, each=1)) == ["S-1", "S-0", "S-2"]


def test_who_has_a_wake_up_under_way_is_passed_over_and_keeps_nobody_back(one: Lab) -> None:
    """A line whose first were all sent would stand still until their marks run out; each of them is a busy worker."""
    put(one, *(["a:ready:1"] * 5), "a:running:-", "a:running:-", "b:running:-")
    score(one, "sent", s0=FAR, s1=FAR, s2=FAR)
    score(one, "leases", s5=FAR, s6=FAR, s7=FAR)

    seen = look(one, "a", "b", each=2)

    assert line(seen) == ["S-3", "S-4"]
    assert (seen.busy, seen.sent) == ({"a": 5, "b": 1}, 3)


def test_who_is_left_alone_is_passed_over_until_then_and_takes_nobodys_place(one: Lab) -> None:
    """Nobody who lives can work on it: it is no busy worker, leaves its room to others, and is in line again by itself."""
    put(one, *(["a:ready:1"] * 5), "a:finalizing:1")
    score(one, "left", s0=FAR, s1=FAR, s2=1, s5=FAR)
    score(one, "sent", s0=FAR, s3=FAR)

    one.run(one.due.leave("S-0", 60.0))
    seen = look(one, each=2)

    assert line(seen) == ["S-2", "S-4"]
    assert (seen.busy, seen.sent) == ({"a": 1}, 1)
    assert one.run(one.store.command("ZRANGE", of(one, "left"), 0, -1)) == ["S-0", "S-1", "S-5"]
    until = int(one.run(one.store.command("ZSCORE", of(one, "left"), "S-0")))
    assert 0 <= seen.now + 60_000 - until < 60_000
    with pytest.raises(StoreError, match="was not left alone"):
        one.run(one.due.leave("S-0", -1.0))


@pytest.mark.parametrize(("until", "in_line"), [(FAR, []), (1, ["S-0"])])
def test_one_that_is_left_alone_is_enough(one: Lab, until: int, in_line: list[str]) -> None:
    """It is passed over, and no longer once its time is over."""
    put(one, "a:ready:1")
    score(one, "left", s0=until)

    assert line(look(one)) == in_line


def test_marks_of_others_give_a_line_neither_more_nor_less(one: Lab) -> None:
    """Somebody who was sent stands in front, or runs by now: either way so many come as were asked for."""
    put(one, *(["a:ready:1"] * 5), "a:running:-")

    score(one, "sent", s0=FAR)
    assert line(look(one, each=2)) == ["S-1", "S-2"]
    score(one, "sent", s5=FAR, s6=FAR)
    assert line(look(one, each=2)) == ["S-1", "S-2"]
    assert line(look(one, each=1)) == ["S-1"]


def test_a_mark_that_ran_out_is_forgotten(one: Lab) -> None:
    """The wake-up was lost: its session is sent again."""
    put(one, "a:ready:1")
    score(one, "sent", s0=1)

    seen = look(one)

    assert (line(seen), seen.busy, seen.sent) == (["S-0"], {"a": 0}, 0)


def test_what_is_being_settled_by_its_holder_is_not_sent(one: Lab) -> None:
    """Who keeps its lease to settle a session itself needs no second one beside it; for the others somebody must come."""
    put(one, "a:finalizing:1", "a:finalizing:1", "a:ready:1")
    score(one, "leases", s0=FAR)

    assert line(look(one)) == ["S-1", "S-2"]


def test_expired_leases_and_waits_that_are_due_are_told_the_oldest_first(one: Lab) -> None:
    """No more than asked for; the next look finds the others."""
    for name in ("leases", "due"):
        score(one, name, s1=20, s2=10, s3=30, s4=FAR)

    seen = look(one, most=2)

    assert seen.expired == seen.due == ("S-2", "S-1")
    assert look(one, most=9).expired == ("S-2", "S-1", "S-3")


@pytest.mark.parametrize("works", [(), ("leases",), ("sent",), ("leases", "sent")])
def test_the_next_look_is_due_with_the_first_wait_where_nobody_works(one: Lab, works: tuple[str, ...]) -> None:
    """A quiet store is left alone until then; where somebody works, something may be over at any time."""
    score(one, "due", s1=FAR + 7, s2=FAR)
    for name in works:
        score(one, name, s3=FAR)

    seen = look(one)

    assert seen.next_at == (seen.now if works else FAR)


def test_where_nothing_will_be_due_no_look_is(one: Lab) -> None:
    """A partition without a wait wakes nobody by itself."""
    assert look(one).next_at is None
    assert one.run(one.store.act_on_partition("tick", 0, 9, 9, 9, 9, 9))[-1] == -1


def test_a_time_that_only_a_clock_of_before_can_have_set_is_brought_near(one: Lab) -> None:
    """The server's clock has gone back: a lost wake-up would be believed for as long as that step. A lease is left to rescue."""
    put(one, *(["a:running:-"] * 2), *(["a:ready:1"] * 3))
    now = look(one).now
    score(one, "leases", s0=FAR, s1=now + 600_000)
    score(one, "sent", s2=FAR, s3=now + 600_000)
    score(one, "left", s4=FAR)

    seen = look(one, lease_seconds=900.0, resend_seconds=800.0)
    times = {name: dict(times_of(one, name)) for name in ("leases", "sent", "left")}

    assert times["leases"] == {"S-0": FAR, "S-1": now + 600_000}
    assert times["sent"] == {"S-2": seen.now + 800_000, "S-3": now + 600_000}
    assert times["left"] == {"S-4": seen.now + 30_000}
    assert (seen.expired, seen.far, seen.sent, line(seen)) == ((), ("S-0",), 2, [])


def test_a_scheduler_that_leads_a_partition_not_brings_nothing_near(one: Lab) -> None:
    """It looks there for an app with a limit alone; and of many, so many at a time as are asked for."""
    put(one, *(["a:ready:1"] * 3))
    score(one, "sent", s0=FAR, s1=FAR, s2=FAR)

    look(one, most=0, resend_seconds=900.0)
    assert [at for _, at in times_of(one, "sent")] == [FAR] * 3
    look(one, most=2, resend_seconds=900.0)
    assert [at for _, at in times_of(one, "sent")].count(FAR) == 1
    look(one, most=2, resend_seconds=900.0)
    assert FAR not in [at for _, at in times_of(one, "sent")]


def test_leases_that_end_too_late_are_told_the_furthest_first(one: Lab) -> None:
    """No more than asked for: those that only a clock of before can have set stand before those that may be true."""
    score(one, "leases", s0=10, s1=20, s2=FAR, s3=FAR + 1, s4=FAR + 2)

    assert [look(one, most=most, lease_seconds=900.0).far for most in (0, 2, 9)] == [
        (),
        ("S-4", "S-3"),
        ("S-4", "S-3", "S-2"),
    ]


@pytest.mark.parametrize(("most", "each"), [(-1, 1), (1, -1)])
def test_a_look_for_no_number_is_refused(one: Lab, most: int, each: int) -> None:
    """A limit of -1 would mean all of a million to the server."""
    with pytest.raises(StoreError, match="malformed"):
        look(one, most=most, each=each)
