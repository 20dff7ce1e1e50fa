"""Decide how many sessions a process takes in now: as many as it can keep, not as many as it has lanes for.

A lease begins in the server, when the claim is done there; it is kept from the moment at which the claim's answer is read,
for only then the heartbeat knows of it. A process that claims ten thousand sessions at once has their answers lie
unread for longer than a lease lasts, loses them, and gets them again as orphans. So what is let in is paced:

    lanes     no session without a lane of its own
    starting  at most `most_starting` sessions that were let in and whose claim is not answered
    lag       nothing new while the loop is late by more than `most_lag_seconds`, or a renewal is so long without an answer

Why no lease is lost by it. A turn of the loop does all that is ready, so each thing that waits for another costs a turn, and
a turn lasts B at most where the lag does. With a lease of L, renewed every R: a claim's answer is read in one turn, and
its session known to the heartbeat in the next; few answers are under way, so no turn is longer for them. A renewal is due
after R, and is on the wire four turns later: the timer, the heartbeat, the renewal's own task, the write. It has a
connection of its own (workers/heartbeat.py), so its trip is the server's time and not that of all that steps have sent before
it; that trip is the seventh wait of B. Hence no lease is older than R + 7B when it is renewed; with B = (L - R) / 10 that
leaves three tenths of L - R for a machine that becomes slower. Where the sessions that run are more than the loop or the
server can serve, both fall behind whoever is let in, and then nobody is: renewals go before new claims. Whoever waits here
waits in the broker, where another process may take it.

A process with nothing to do takes one in, however late its loop is, so that a slow machine is slow and does not stand still.
Pure. What it does not do: wait, count, or measure (workers/lanes.py).
"""

from typing import NamedTuple


class Pace(NamedTuple):
    """How fast sessions are let in."""

    most_starting: int = 1_000
    most_lag_seconds: float = 1.0


def plan_pace(*, lease_seconds: float, renew_seconds: float) -> Pace:
    """Return the pace at which no lease is lost.

    >>> plan_pace(lease_seconds=15.0, renew_seconds=5.0).most_lag_seconds
    1.0
    """
    return Pace(most_lag_seconds=(lease_seconds - renew_seconds) / 10)


def choose_room(pace: Pace, *, free: int, held: int, starting: int, lag_seconds: float) -> int:
    """Return how many sessions may be let in now; `lag_seconds` is the loop's or the renewals', whichever is worse.

    `free` are lanes that nobody has, `held` those that somebody has, `starting` the sessions among these whose claim
    is not answered.

    >>> [choose_room(Pace(), free=9, held=1, starting=1, lag_seconds=lag) for lag in (0.0, 1.0, 1.1)]
    [9, 9, 0]
    >>> choose_room(Pace(most_starting=4), free=9, held=3, starting=3, lag_seconds=0.0)
    1
    """
    room = max(min(free, pace.most_starting - starting), 0)
    if lag_seconds <= pace.most_lag_seconds:
        return room
    return min(room, 1) if held == 0 else 0


def is_eased(pace: Pace, *, starting: int) -> bool:
    """Say whether those who waited for others to start should look again: once half of them have.

    One that is woken for each claim that is answered would take in one session at a time.

    >>> [is_eased(Pace(most_starting=4), starting=starting) for starting in (3, 2)]
    [False, True]
    """
    return starting <= pace.most_starting // 2
