"""Decide which sessions in line are sent wake-ups now.

Late, and from everything that is in line: the highest priority first; among equals the apps take
turns, the one with fewer sessions running first; within an app the oldest. An app's `max_running`
counts what runs and what is under way. Pure.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.contracts.session import InLine


@dataclass(slots=True)
class _Turn:
    """One app's place in the round: its line, and how many of its sessions are busy."""

    line: list[InLine]
    busy: int
    taken: int = field(default=0)


def plan_dispatch(
    in_line: Sequence[InLine],
    *,
    room: int,
    busy: Mapping[str, int],
    limits: Mapping[str, int],
    bucket: Literal["ready", "plugins"] = "ready",
) -> list[InLine]:
    """Return at most `room` sessions in the order in which to wake them.

    `busy` counts each app's running sessions and wake-ups under way; `limits` is its max_running.
    Finalising is never limited, and neither is what was asked to stop: it frees what others wait for. The line for plugins is
    planned apart, for it has room of its own.

    >>> line = [
    ...     InLine(session_id=f"{app}{age}", app=app, bucket="ready", rank=1, since_at=age)
    ...     for app, age in (("a", 1), ("a", 2), ("b", 9))
    ... ]
    >>> [one.session_id for one in plan_dispatch(line, room=2, busy={}, limits={})]
    ['a1', 'b9']
    """
    first = "finalizing" if bucket == "ready" else ""
    chosen = sorted((one for one in in_line if one.bucket == first), key=lambda one: one.since_at)[:room]
    ready = [one for one in in_line if one.bucket == bucket]
    counts = dict(busy)
    for rank in sorted({one.rank for one in ready}):
        turns = {
            app: _Turn(
                sorted((one for one in ready if one.rank == rank and one.app == app), key=_age), counts.get(app, 0)
            )
            for app in sorted({one.app for one in ready if one.rank == rank})
        }
        while len(chosen) < room:
            able = [
                (turn.busy, turn.line[turn.taken].since_at, app)
                for app, turn in turns.items()
                if turn.taken < len(turn.line) and (rank < 0 or app not in limits or turn.busy < limits[app])
            ]
            if not able:
                break
            turn = turns[min(able)[2]]
            chosen.append(turn.line[turn.taken])
            turn.taken += 1
            turn.busy += 1
        counts.update({app: turn.busy for app, turn in turns.items()})
    return chosen


def is_paused(paused: Collection[str], app: str, bucket: str) -> bool:
    """Say whether an operator has paused an app, or the queue that a bucket's sessions go to.

    >>> is_paused({"app:a"}, "a", "ready"), is_paused({"queue:plugins"}, "a", "ready"), is_paused({"queue:steps"}, "a", "ready")
    (True, False, True)
    """
    queue = {"ready": "steps", "finalizing": "finalize"}.get(bucket, bucket)
    return bool(paused) and (f"app:{app}" in paused or f"queue:{queue}" in paused)


def _age(one: InLine) -> tuple[int, str]:
    return one.since_at, one.session_id
