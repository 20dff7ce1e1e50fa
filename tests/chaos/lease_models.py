"""What leases and commits of one session may answer: two models for `linear.check_history`.

`revisions` is a register with compare-and-set: a claim reads the revision and writes a new fence, a commit is
accepted if and only if it names the newest of both. `leases` is a lock with a time limit: nobody gets it while a
lease may still run, and only whoever has it renews it, gives it back, or commits under it.

    claim    (repeated)                        -> (fence, rev), or a word for a refusal
    commit   (fence, rev, releases, repeated)  -> "committed", "stale", or "unsettled": nothing was written
    renew    (fence, repeated)                 -> "renewed" or "stale"
    release  (fence, repeated)                 -> "released" or "stale"
    rescue   (repeated)                        -> "rescued" or "alive"

Times are milliseconds of one clock for all processes of the machine. A lease begins when the server says so, which
is after the claim began and before it was answered; so it runs at least until its beginning and its length are over.
An operation that was repeated over a lost connection (`args[-1]` is True) may have happened although the answer to
its last try is a refusal: both are legal.
"""

from collections.abc import Hashable, Iterable
from functools import partial
from typing import NamedTuple

from tests.chaos.linear import Model, Op

#: The newest fence was given to somebody who never heard of it: nobody can name it.
UNHEARD = -1
#: Who has the lease is not known: where a history begins, or goes on after the server went back in time.
ANYBODY = -2
#: The server counts whole milliseconds, and its clock is not the one that operations are timed with.
SLACK_MS = 5.0


class Revision(NamedTuple):
    """What the register holds; None is what is not known at the beginning of a history."""

    fence: int | None = None
    rev: int | None = None


class Lease(NamedTuple):
    """Who has the lock, and until when at least; fence None: nobody."""

    fence: int | None = ANYBODY
    until: float = 0.0


def revisions(state: Revision, op: Op) -> Iterable[Hashable]:
    """Model fence and revision as a register."""
    unheard = op.ended is None
    if op.what == "claim":
        if unheard:
            return (Revision(UNHEARD, state.rev), state)
        if isinstance(op.answer, str):
            return (Revision(UNHEARD, state.rev), state) if op.args[-1] else (state,)
        fence, rev = op.answer
        fits = state.rev in {None, rev} and (state.fence is None or fence > state.fence)
        return (Revision(fence, rev),) if fits else ()
    if op.what == "rescue":
        grown = Revision(UNHEARD, state.rev)
        if unheard or op.args[-1]:
            return (grown, state)
        return (grown,) if op.answer == "rescued" else (state,)
    if op.what != "commit":
        return (state,)
    fence, rev = op.args[:2]
    unknown = state.fence is None
    fits = unknown or state == (fence, rev)
    written = Revision(fence, rev + 1)
    if unheard:
        return (written, state) if fits else (state,)
    if op.answer == "committed":
        return (written,) if fits else ()
    if op.args[-1]:
        return (written, state) if fits else (state,)
    if op.answer == "unsettled":
        return (state,) if fits else ()
    return (state,) if unknown or not fits else ()


def leases(lease_ms: float, state: Lease, op: Op) -> Iterable[Hashable]:
    """Model the lease as a lock that runs out."""
    unheard = op.ended is None
    who, repeated = op.args[0], bool(op.args[-1])
    mine = state.fence in {who, ANYBODY} and op.what not in {"claim", "rescue"}
    free, until = Lease(None), op.began + lease_ms - SLACK_MS
    given = Lease(who, until)
    match op.what:
        case "claim":
            over = state.fence is None or op.ended is None or op.ended >= state.until
            unknown = Lease(UNHEARD, until)
            if unheard:
                return (unknown, state)
            if isinstance(op.answer, str):
                return (unknown, state) if repeated else (state,)
            return (Lease(op.answer[0], until),) if over else ()
        case "renew":
            if unheard:
                return (given, state) if mine else (state,)
            return ((given,) if mine else ()) if op.answer == "renewed" else (state,)
        case "release":
            if unheard or repeated:
                return (free, state) if mine else (state,)
            return ((free,) if mine else ()) if op.answer == "released" else (state,)
        case "commit":
            releases = op.args[2]
            if op.answer == "committed":
                # A lease that ran out without a successor is still good for its commit.
                return (free if releases else Lease(who, state.until),) if mine else ()
            if (unheard or repeated) and mine and releases:
                return (free, state)
            return (state,)
        case "rescue":
            over = state.fence is None or op.ended is None or op.ended >= state.until
            if unheard or repeated:
                return (free, state) if over else (state,)
            return ((free,) if over else ()) if op.answer == "rescued" else (state,)
    raise ValueError(f"lease: no operation {op.what!r}; use claim, commit, renew, release or rescue")


def lease_model(lease_ms: float) -> Model:
    """Return the lock's model for leases of this length."""
    return partial(leases, lease_ms)
