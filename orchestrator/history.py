"""What the store's figures were in the last hour: rates, ages of lines, and percentiles of how long steps took.

The store keeps totals; a chart wants their changes. A `History` is what one process has seen since it started: it takes the
figures that `Client.measure` gives and keeps a few numbers of each. Pure: when to look is its owner's choice.
"""

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.contracts.counters import BUCKET_NAMES, BUCKETS_MS
from orchestrator.store.gauges import Gauges

#: Samples are this far apart at least, and so many are kept: one hour.
SAMPLE_MS: Final = 5_000
SAMPLES: Final = 720
LINES: Final = ("steps", "plugins", "finalize")


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures at one moment (`at`: the store's ms): totals, ages in seconds, and buckets by kind of step."""

    at: int
    steps: int
    ended: int
    submitted: int
    ages: Mapping[str, float]
    buckets: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Rate:
    """What happened per second between two moments, and how old the lines' first were at the end of it."""

    at: int
    steps: float
    ended: float
    ages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long steps of one kind took, in ms, and how many there were."""

    kind: str
    count: int
    p50: float
    p95: float
    p99: float


class History:
    """The last hour of one store, as far as this process has seen it."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)

    def add(self, gauges: Gauges) -> None:
        """Take what the store holds now; what follows too soon on the last sample is left out."""
        if self._samples and gauges.now - self._samples[-1].at < SAMPLE_MS:
            return
        self._samples.append(read_sample(gauges))

    def rates(self, points: int = 60) -> list[Rate]:
        """Return what happened between samples, oldest first, of at most so many stretches of equal length."""
        samples = list(self._samples)
        step = max(-(-(len(samples) - 1) // points), 1)
        chosen = samples[::-1][::step][::-1]
        return [_rate(before, after) for before, after in itertools.pairwise(chosen)]

    def latencies(self) -> list[Latency]:
        """Return how long steps took since the first sample; since ever, where there was none since."""
        if not self._samples:
            return []
        first, last = self._samples[0], self._samples[-1]
        since = {kind: _minus(buckets, first.buckets.get(kind)) for kind, buckets in last.buckets.items()}
        if not any(sum(buckets) for buckets in since.values()):
            since = dict(last.buckets)
        return [
            Latency(kind, sum(buckets), *(percentile(buckets, share) for share in (0.5, 0.95, 0.99)))
            for kind, buckets in sorted(since.items())
            if sum(buckets)
        ]


def read_sample(gauges: Gauges) -> Sample:
    """Return what is kept of the store's figures."""
    buckets: dict[str, list[int]] = {}
    steps = ended = submitted = 0
    for name, count in gauges.counters.items():
        match name.split(":"):
            case ["step", kind, _, bucket] if bucket in BUCKET_NAMES:
                steps += count
                buckets.setdefault(kind, [0] * len(BUCKET_NAMES))[BUCKET_NAMES.index(bucket)] += count
            case ["ended", *_]:
                ended += count
            case ["submitted", *_]:
                submitted += count
    firsts = {line: [app.first_in_line[line] for app in gauges.apps.values()] for line in LINES}
    ages = {line: max((gauges.seconds_since(at) for at in every), default=0.0) for line, every in firsts.items()}
    return Sample(gauges.now, steps, ended, submitted, ages, {kind: tuple(one) for kind, one in buckets.items()})


def percentile(buckets: Sequence[int], share: float) -> float:
    """Return the time, in ms, that this share of the counted steps stayed below; inside a bucket it is interpolated.

    >>> percentile([0, 100, *[0] * 14], 0.5)
    3.0
    >>> percentile([0] * 15 + [4], 0.99)
    120000.0
    """
    wanted, seen, low = sum(buckets) * share, 0, 0
    for bound, count in zip(BUCKETS_MS, buckets, strict=False):
        if count and seen + count >= wanted:
            return low + (bound - low) * (wanted - seen) / count
        seen, low = seen + count, bound
    return float(BUCKETS_MS[-1])


def _rate(before: Sample, after: Sample) -> Rate:
    seconds = max((after.at - before.at) / 1000, 0.001)
    steps, ended = max(after.steps - before.steps, 0), max(after.ended - before.ended, 0)
    return Rate(after.at, steps / seconds, ended / seconds, after.ages)


def _minus(buckets: tuple[int, ...], before: tuple[int, ...] | None) -> tuple[int, ...]:
    if before is None:
        return buckets
    return tuple(max(one - other, 0) for one, other in zip(buckets, before, strict=True))
