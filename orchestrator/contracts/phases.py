"""Phases: Baton's own closed set, and the one table of what may follow what.

A phase says what the runtime may do with a session; the app's word for how it ended is its
status. Every script that changes a phase is generated with this table in it, so that an illegal
change is refused where it would be written.

    submit -> ready -> running -> ready | waiting | finalizing | dead
                       waiting -> ready | running | dead
                       finalizing -> ended | dead
                       dead -> ready (a person replays it)

What cannot be read is `dead` from wherever it was; a step that goes on keeps the phase `running`.

`finalizing` is claimed without leaving the phase: the lease says that somebody is at work, the
phase says what is left to do. Nothing follows `ended`.
"""

from typing import Final, Literal, TypeAlias, get_args

Phase: TypeAlias = Literal["ready", "running", "waiting", "finalizing", "ended", "dead"]

PHASES: Final[tuple[Phase, ...]] = get_args(Phase)

TRANSITIONS: Final[dict[Phase, tuple[Phase, ...]]] = {
    "ready": ("running", "dead"),
    "running": ("running", "ready", "waiting", "finalizing", "dead"),
    "waiting": ("ready", "running", "dead"),
    "finalizing": ("finalizing", "ended", "dead"),
    "ended": (),
    "dead": ("ready",),
}

SETTLED: Final[frozenset[Phase]] = frozenset({"ended", "dead"})


def is_allowed(before: Phase, after: Phase) -> bool:
    """Say whether a session may go from one phase to another.

    >>> is_allowed("running", "waiting"), is_allowed("ended", "ready")
    (True, False)
    """
    return after in TRANSITIONS[before]
