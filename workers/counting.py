"""What a slice counts of its steps, for the store's own counters (contracts/counters.py). Pure but for the given dict."""

from functools import lru_cache

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.counters import BUCKET_NAMES, ERRORS, OTHER, bucket_number, duration_bucket
from orchestrator.contracts.session import Outcome, StepKind
from orchestrator.kernel.change import Change
from orchestrator.store.leases import Claimed


def count(counters: dict[str, int], name: str, number: int = 1) -> None:
    """Add to one counter."""
    counters[name] = counters.get(name, 0) + number


def count_claim(counters: dict[str, int], claimed: Claimed) -> None:
    """Count how long a session stood in line before this claim."""
    record = claimed.record
    queue = "finalize" if record.phase == "finalizing" else record.queue
    seconds = max(claimed.claimed_at - claimed.ready_at, 0) / 1000
    count(counters, f"queued:{queue}:{duration_bucket(seconds)}")
    count(counters, f"late:{queue}", round(seconds * 1_000_000))


@lru_cache(maxsize=256)
def _names(step: StepKind, outcome: Outcome) -> tuple[tuple[str, ...], str]:
    """Return the counters of such steps: of each bucket, and of their time. Every step asks, and there are few."""
    return tuple(f"step:{step}:{outcome}:{name}" for name in BUCKET_NAMES), f"spent:{step}:{outcome}"


def count_step(counters: dict[str, int], change: Change, seconds: float) -> None:
    """Count a step: how long it took, the calls that it ended, and what went wrong in it."""
    buckets, spent = _names(change.step, change.outcome)
    count(counters, buckets[bucket_number(seconds)])
    count(counters, spent, round(seconds * 1_000_000))
    for call in change.calls:
        count(counters, f"call:{call.outcome}")
    for name, number in change.counters.items():
        count(counters, name, number)
    if not change.data:
        return
    if "decision" in change.data:
        count(counters, f"failed:{_known_error(change.data)}")
    plugin = change.data.get("plugin")
    if isinstance(plugin, dict):
        count(counters, f"plugin:{plugin.get('status', OTHER)}")


def _known_error(failure: JsonObject) -> str:
    """Return the nearest class of an error that has a name of its own among the counters."""
    lineage = failure.get("lineage")
    names = (failure.get("error"), *(lineage if isinstance(lineage, list) else ()))
    return next((name for name in names if isinstance(name, str) and name in ERRORS), OTHER)
