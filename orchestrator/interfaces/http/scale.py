"""How many workers a pool wants, for an autoscaler that asks. Pure.

Load is what stands in line and runs, over what one worker holds. A line that grows old asks for one worker more than the
load, because what holds it up is then not the number of slots alone.
"""

from dataclasses import dataclass
from math import ceil

from orchestrator.operations import Line

#: A line this old is late.
LATE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ScaleAdvice:
    """The advice, with what it was made from."""

    pool: str
    desired_workers: int
    workers: int
    load: float
    in_line: int
    running: int
    oldest_seconds: float
    reason: str


def plan_scale(line: Line, *, now: int, slots_each: int) -> ScaleAdvice:
    """Return how many workers a line wants; a paused one wants what it has.

    >>> plan_scale(Line("steps", 600, 1_000, 200, 256, 1, False), now=3_000, slots_each=256).desired_workers
    4
    """
    load = (line.in_line + line.running) / slots_each
    age = 0.0 if line.oldest_at is None else max(now - line.oldest_at, 0) / 1000
    if line.is_paused:
        desired, reason = line.workers, "the queue is paused"
    elif age > LATE_SECONDS:
        desired, reason = max(ceil(load), line.workers + 1), f"the oldest in line waits for {age:.0f} s"
    else:
        desired, reason = ceil(load), f"{line.in_line} in line and {line.running} running, {slots_each} slots a worker"
    return ScaleAdvice(
        line.queue, desired, line.workers, round(load, 3), line.in_line, line.running, round(age, 3), reason
    )
