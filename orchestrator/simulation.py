"""Plays a load against a fleet in virtual time: how long do sessions stand in line? Pure; a million sessions take seconds.

Sessions arrive at random (or all at once), do their steps one after the other, and wait in between. A step needs a lane; who finds
none stands in line, first come first served. A session keeps its lane while its steps follow each other and its slice lasts, then goes
to the end of the line, as a worker does it. Beside lanes, two things are short: the workers' processors and the server's; each step
takes what was measured of both (scaling.py). Not played: priorities, apps' limits, failures, the delay of wake-ups (some 10 ms).
"""

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from random import Random
from typing import Final

from orchestrator.contracts.base import Frozen
from orchestrator.scaling import STEP_SERVER_SECONDS, STEP_WORKER_SECONDS

ROWS: Final = 16
#: Where the search for a fleet that is large enough ends.
MOST_WORKERS: Final = 1024
#: Bounds of the histogram of times in line: from a millisecond on, each a tenth longer than the one before.
_GROWTH: Final = 1.1
_FIRST: Final = 0.001


#: After so many sessions a play that somebody watches says so.
TOLD_SESSIONS: Final = 1_000


class Play(Frozen):
    """What is played. `rate` is sessions a second, 0: all at once; times are means in seconds.

    `spread` 0 makes each step as long as the mean.
    """

    sessions: int
    rate: float
    steps: int
    step_seconds: float
    wait_seconds: float
    workers: int
    lanes: int
    slice_seconds: float = 2.0
    spread: float = 1.0
    seed: int = 0


class Row(Frozen):
    """A part of the time: steps that began in it, the longest time that one of them stood in line, sessions that ended."""

    from_seconds: float
    began: int
    oldest_seconds: float
    ended: int


class Played(Frozen):
    """How it went. `busy` is the share of lanes that were taken, from the first step to the last."""

    rows: tuple[Row, ...]
    seconds: float
    steps: int
    busy: float
    line_p50_seconds: float
    line_p99_seconds: float
    line_max_seconds: float


def play(load: Play, *, tell: Callable[[int], None] | None = None) -> Played:
    """Play a load to its end; `tell` is told now and then how many sessions more have ended."""
    random = Random(load.seed)  # noqa: S311 - a simulation
    lanes = [0.0] * (load.workers * load.lanes)
    pace = max(STEP_WORKER_SECONDS / load.workers, STEP_SERVER_SECONDS)
    width = max((load.sessions / load.rate if load.rate else 0.0) + _alone(load), _least(load)) / (ROWS - 2)
    waits = _Waits()
    rows: dict[int, list[float]] = {}
    ready: list[tuple[float, int, int]] = []
    arrived, next_at, gate, busy, last = 0, 0.0, 0.0, 0.0, 0.0
    ended = 0
    while arrived < load.sessions or ready:
        if arrived < load.sessions and (not ready or next_at <= ready[0][0]):
            at, number, left = next_at, arrived, load.steps
            arrived += 1
            next_at += random.expovariate(load.rate) if load.rate else 0.0
        else:
            at, number, left = heappop(ready)
        began = max(at, lanes[0])
        waits.add(began - at)
        row = rows.setdefault(int(began / width), [0, 0.0, 0])
        row[0] += 1
        row[1] = max(row[1], began - at)
        gate = max(gate, began) + pace
        now = gate + _draw(random, load.step_seconds, load.spread)
        left -= 1
        while left and not load.wait_seconds and now - began < load.slice_seconds:
            gate += pace  # taken now, though it is used a little later: who comes next finds as much less
            now += STEP_WORKER_SECONDS + _draw(random, load.step_seconds, load.spread)
            left -= 1
        heapreplace(lanes, now)
        busy += now - began
        last = max(last, now)
        if left:
            heappush(ready, (now + _draw(random, load.wait_seconds, load.spread), number, left))
        else:
            rows.setdefault(int(now / width), [0, 0.0, 0])[2] += 1
            ended += 1
            if tell is not None and ended % TOLD_SESSIONS == 0:
                tell(TOLD_SESSIONS)
    told = tuple(
        Row(from_seconds=round(key * width, 3), began=int(row[0]), oldest_seconds=round(row[1], 3), ended=int(row[2]))
        for key, row in sorted(rows.items())
    )
    return Played(
        rows=_thin(told),
        seconds=round(last, 3),
        steps=load.sessions * load.steps,
        busy=round(busy / (len(lanes) * last), 4) if last else 0.0,
        line_p50_seconds=waits.at(0.5),
        line_p99_seconds=waits.at(0.99),
        line_max_seconds=round(waits.most, 3),
    )


def find_fewest(load: Play, seconds: float, *, tell: Callable[[int], None] | None = None) -> int | None:
    """Return the fewest workers with which 99 of 100 stand in line for no longer than that; None: not even MOST_WORKERS do.

    It plays the load some ten times; `tell` is as that of `play`.
    """
    low, high = 1, 1
    while play(load.model_copy(update={"workers": high}), tell=tell).line_p99_seconds > seconds:
        if high >= MOST_WORKERS:
            return None
        low, high = high + 1, min(high * 2, MOST_WORKERS)
    while low < high:
        middle = (low + high) // 2
        if play(load.model_copy(update={"workers": middle}), tell=tell).line_p99_seconds > seconds:
            low = middle + 1
        else:
            high = middle
    return high


def _draw(random: Random, mean: float, spread: float) -> float:
    if not mean or not spread:
        return mean
    return mean * (1 - spread) + spread * random.expovariate(1 / mean)


def _alone(load: Play) -> float:
    """Return how long one session takes that never stands in line."""
    return load.steps * load.step_seconds + (load.steps - 1) * load.wait_seconds


def _least(load: Play) -> float:
    """Return how long the fleet needs for all steps, if no lane ever stands empty."""
    work = load.sessions * load.steps
    lanes = work * load.step_seconds / (load.workers * load.lanes)
    return max(lanes, work * STEP_WORKER_SECONDS / load.workers, work * STEP_SERVER_SECONDS, 0.001)


def _thin(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return at most some 2 x ROWS rows, neighbours put together."""
    each = -(-len(rows) // (2 * ROWS))
    parts = [rows[at : at + each] for at in range(0, len(rows), each)] if each > 1 else [(row,) for row in rows]
    return tuple(
        Row(
            from_seconds=part[0].from_seconds,
            began=sum(row.began for row in part),
            oldest_seconds=max(row.oldest_seconds for row in part),
            ended=sum(row.ended for row in part),
        )
        for part in parts
    )


class _Waits:
    """Times in line, as a histogram: a million of them take no memory."""

    def __init__(self) -> None:
        self._bounds = [0.0, _FIRST]
        self._counts = [0, 0]
        self._total = 0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        self._total += 1
        if seconds <= 0:
            self._counts[0] += 1
            return
        self.most = max(self.most, seconds)
        while self._bounds[-1] < seconds:
            self._bounds.append(self._bounds[-1] * _GROWTH)
            self._counts.append(0)
        low, high = 1, len(self._bounds) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._bounds[middle] < seconds else (low, middle)
        self._counts[low] += 1

    def at(self, share: float) -> float:
        """Return the time that this share of all stood in line at most, to a tenth."""
        seen = 0
        for bound, count in zip(self._bounds, self._counts, strict=True):
            seen += count
            if seen >= share * self._total:
                return round(min(bound, self.most), 3)
        return round(self.most, 3)
