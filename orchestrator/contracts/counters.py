"""The counters that the store keeps: their names, which are all that writers and readers of them share.

    submitted:APP             sessions submitted           step:KIND:OUTCOME:BUCKET  steps, by how long they took
    ended:APP:STATUS          sessions settled             spent:KIND:OUTCOME        their time, microseconds
    buried:REASON             dead letters                 queued:QUEUE:BUCKET       claims, by how long they were late
    replayed                  dead letters sent again      late:QUEUE                their time, microseconds
    orphaned                  leases whose holder died     call:OUTCOME              tool calls that came to an end
    released                  sessions handed back         plugin:STATUS             plugins' runs
    posted                    posts                        failed:ERROR              steps that failed, by the error's class
    used:APP:PERIOD:WHAT      what an app with a budget of its own has used (store/spending.py); not a metric

Each is a whole number in the hash `stats` of a partition, and only ever grows: what the store has counted outlives every process.
A name holds no session's id, and of every part there are few: an error that is none of ours counts as `other`.
"""

from bisect import bisect_left
from typing import Final

from orchestrator.contracts.provider_errors import ERROR_CLASSES

#: Upper bounds of the histograms' buckets, in milliseconds; above the last it is `inf`.
BUCKETS_MS: Final = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000)
BUCKET_NAMES: Final = (*(str(bound) for bound in BUCKETS_MS), "inf")

#: Errors that are counted by their class's name.
ERRORS: Final = frozenset(
    {
        "AppCodeFailed",
        "AppCodeInvalid",
        "InvalidOverrides",
        "PayloadTooLarge",
        "StateInvalid",
        "StateUpdateRefused",
        "ToolError",
        "ToolNeedsInput",
        "ToolTimeout",
        "ToolUnavailable",
        *ERROR_CLASSES,
    }
)
OTHER: Final = "other"


def duration_bucket(seconds: float) -> str:
    """Return the upper bound, in milliseconds, under which something of this length is counted.

    >>> duration_bucket(0.004), duration_bucket(500)
    ('5', 'inf')
    """
    return BUCKET_NAMES[bucket_number(seconds)]


def bucket_number(seconds: float) -> int:
    """Return the place of that bound in BUCKET_NAMES.

    >>> bucket_number(0.001), bucket_number(0.0011)
    (0, 1)
    """
    return bisect_left(BUCKETS_MS, seconds * 1000)
