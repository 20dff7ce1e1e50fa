"""How long a lease may be believed: as long as it was given for, by whichever clock it was, and not a moment less."""

import pytest

from orchestrator.store.due import MOST_LEASE_SECONDS
from tests.property.store_lab import DIGEST, Lab

FAR = 9_000_000_000_000


def hold(lab: Lab) -> str:
    """Submit and claim a session."""
    session_id = lab.submit()
    lab.run(lab.leases.claim(session_id, "w:1", (DIGEST,)))
    return session_id


def end_of(lab: Lab, session_id: str) -> int:
    """Return when its lease ends."""
    return int(lab.run(lab.store.command("ZSCORE", lab.key("leases", session_id), session_id)))


def put_off(lab: Lab, session_id: str, at: int) -> None:
    """Let its lease end then, as if another clock had set it."""
    lab.run(lab.store.command("ZADD", lab.key("leases", session_id), "XX", at, session_id))


def rescue_far(lab: Lab, session_id: str) -> tuple[int, int, int]:
    """Let somebody look at a lease without end; return the server's time before, the lease's end, and the time behind."""
    put_off(lab, session_id, FAR)
    before = lab.run(lab.store.now_ms())
    assert not lab.run(lab.due.rescue(session_id))
    return before, end_of(lab, session_id), lab.run(lab.store.now_ms())


@pytest.mark.parametrize("seconds", [1, 15, 3_600])
def test_a_lease_of_a_clock_that_has_gone_back_lasts_as_long_as_it_was_given_for(store_url: str, seconds: int) -> None:
    """A dead holder would be believed for as long as that step; a living one must not be cut off before its own time."""
    lab = Lab(store_url, lease_seconds=seconds)
    try:
        before, end, after = rescue_far(lab, hold(lab))
    finally:
        lab.close()

    assert before + seconds * 1000 <= end <= after + seconds * 1000


@pytest.mark.parametrize("earlier_ms", [0, 1, 1_800_000])
def test_a_lease_that_may_have_been_given_just_now_is_left_as_it_is(store_url: str, earlier_ms: int) -> None:
    """Whoever looks knows of no such lease: it is the holder's word that counts, not what others of today have."""
    lab = Lab(store_url, lease_seconds=3_600)
    try:
        session_id = hold(lab)
        end = end_of(lab, session_id) - earlier_ms
        put_off(lab, session_id, end)

        assert lab.run(lab.store.act("rescue", session_id)) == ["alive"]
        assert end_of(lab, session_id) == end
    finally:
        lab.close()


@pytest.mark.parametrize("kept", [None, "1:60000", "60000", ":", ""])
def test_of_a_claim_that_says_nothing_the_longest_is_believed(lab: Lab, kept: str | None) -> None:
    """An older Baton claimed it, behind a newer one it may be, whose word of another claim still stands there."""
    session_id = hold(lab)
    record = lab.key("record", session_id)
    lab.run(lab.store.command(*(("HDEL", record, "lease") if kept is None else ("HSET", record, "lease", kept))))

    before, end, after = rescue_far(lab, session_id)

    most = int(MOST_LEASE_SECONDS * 1000)
    assert before + most <= end <= after + most


def test_a_lease_that_a_session_lost_its_record_of_does_not_stand_for_ever(lab: Lab) -> None:
    """Its time comes, and then it is forgotten."""
    session_id = hold(lab)
    lab.run(lab.store.command("DEL", lab.key("record", session_id)))

    assert rescue_far(lab, session_id)[1] < FAR
    lab.expire_lease(session_id)
    assert lab.run(lab.store.act("rescue", session_id)) == ["missing"]
