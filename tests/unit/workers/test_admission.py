"""The pace at which a process takes sessions in: what it can keep, and never nothing at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.admission import Pace, choose_room, is_eased, plan_pace

PACE = Pace(most_starting=4, most_lag_seconds=1.0)
COUNT = st.integers(min_value=0, max_value=20)
LAG = st.floats(min_value=0, max_value=1_000)


@pytest.mark.parametrize(("starting", "room"), [(0, 4), (3, 1), (4, 0), (5, 0)])
def test_so_many_claims_are_under_way_and_no_more(starting: int, room: int) -> None:
    """Their answers are read within one turn of the loop: no lease waits for longer to be known."""
    assert choose_room(PACE, free=9, held=starting, starting=starting, lag_seconds=0) == room


@pytest.mark.parametrize(("lag", "room"), [(0.0, 4), (0.9, 4), (1.0, 4), (1.1, 0), (60.0, 0)])
def test_a_loop_that_is_late_takes_nothing_new(lag: float, room: int) -> None:
    """Renewals go before new claims: whoever falls behind leaves the rest to others."""
    assert choose_room(PACE, free=9, held=1, starting=0, lag_seconds=lag) == room


@pytest.mark.parametrize(("free", "room"), [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4)])
def test_nobody_is_let_in_without_a_lane(free: int, room: int) -> None:
    """What cannot be held stays with the broker."""
    assert choose_room(PACE, free=free, held=1, starting=0, lag_seconds=0) == room


def test_a_slow_machine_is_slow_and_does_not_stand_still() -> None:
    """A loop that is late with nothing to do would be late for ever."""
    assert choose_room(PACE, free=9, held=0, starting=0, lag_seconds=60) == 1


@given(free=COUNT, held=COUNT, starting=COUNT, lag=LAG)
def test_the_room_keeps_every_bound(free: int, held: int, starting: int, lag: float) -> None:
    """Whatever is counted, nobody is let in beyond the lanes, or beyond those who may start."""
    room = choose_room(PACE, free=free, held=held, starting=starting, lag_seconds=lag)

    assert 0 <= room <= free
    assert room + starting <= max(PACE.most_starting, starting)
    assert room == 0 or lag <= PACE.most_lag_seconds or held == 0


@given(lease=st.floats(min_value=1, max_value=3_600), share=st.floats(min_value=0.01, max_value=0.499))
def test_a_renewal_that_is_late_at_every_turn_comes_in_time(lease: float, share: float) -> None:
    """Two turns from the claim until its session is known, a period, four until the renewal is sent, its trip: the module's proof."""
    renew = lease * share

    assert renew + 7 * plan_pace(lease_seconds=lease, renew_seconds=renew).most_lag_seconds < lease


@pytest.mark.parametrize(("starting", "eased"), [(4, False), (3, False), (2, True), (0, True)])
def test_those_who_wait_look_again_once_half_have_started(starting: int, eased: bool) -> None:
    """Woken for each one, a thread would take in one session at a time, and wake the loop for each."""
    assert is_eased(PACE, starting=starting) is eased
