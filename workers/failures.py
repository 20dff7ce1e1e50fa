"""What a failed step means: try again later, or bury the session with its reason.

The kernel decides whether (kernel/retry.py); a retry is a wait with a deadline, so that nobody
sleeps on a worker meanwhile. The session's record keeps the failure (contracts/failures.py) until the step is
done, and so does a dead letter, beside a text for a person.
"""

import logging
import math
import random

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import BatonError, LeaseLost
from orchestrator.contracts.failures import to_record
from orchestrator.contracts.provider_errors import CircuitOpenError
from orchestrator.contracts.session import Entry, Record, Wait
from orchestrator.kernel.change import Change
from orchestrator.kernel.retry import (
    classify_failure,
    delay_multiplier_of,
    plan_retry_seconds,
    retry_after_of,
    should_retry,
)
from orchestrator.store.leases import Commit
from orchestrator.telemetry import redact
from workers.host import Host

log = logging.getLogger(__name__)

MOST_DETAIL_CHARS = 4_000


def settle_failure(spec: AppSpec, record: Record, error: Exception, now: int, host: Host, *, trace: str) -> Change:
    """Return the change that a failed step makes of its session; the record keeps how it failed."""
    cursor = record.cursor
    kind = classify_failure(error)
    decision = should_retry(kind, retries_done=cursor.failures, confidence=cursor.confidence, policy=spec.retry_policy)
    failure = to_record(error, clean=redact)  # a service may have told what it was given
    text, trace = failure.message, redact(trace)
    record = record.model_copy(update={"failure": failure})
    told: JsonObject = {**failure.to_data(), "message": text, "kind": kind, "decision": decision.reason}
    if not decision.retry:
        detail = text if isinstance(error, BatonError) else f"{failure.error}: {text}\n{trace}"[:MOST_DETAIL_CHARS]
        log.error(
            "session %s: step failed for good (%s): %s: %s", record.session_id, decision.reason, failure.error, text
        )
        return Change(
            record=record,
            step="wait",
            directive="dead",
            outcome="failed",
            reason=decision.reason,
            detail=detail,
            data=told,
        )
    retry = host.settings.retry
    delay = plan_retry_seconds(
        cursor.failures + 1,
        base_seconds=retry.base_seconds,
        maximum_seconds=retry.max_seconds,
        jitter=retry.jitter,
        retry_after_seconds=retry_after_of(error),
        delay_multiplier=delay_multiplier_of(error),
        unit_random=random.random(),  # noqa: S311 - spreads retries, guards nothing
    )
    told["retry_seconds"] = round(delay, 3)
    log.warning("session %s: step failed (%s: %s); again in %.1f s", record.session_id, failure.error, text, delay)
    wait = Wait(
        wait_id=f"{record.session_id}/retry-{cursor.serial}-{cursor.failures + 1}",
        kind="retry",
        since_at=now,
        deadline_at=now + math.ceil(delay * 1000),  # upwards: not a millisecond too soon
        prompt=text[:500],
        reason=failure.error,
    )
    # A service that is still left alone has used up the patience; one that was asked begins anew.
    held_at = cursor.held_at if isinstance(error, CircuitOpenError) else None
    again = {"failures": cursor.failures + 1, "admitted": None, "held_at": held_at}
    after = record.model_copy(update={"cursor": cursor.model_copy(update=again), "wait": wait})
    return Change(record=after, step="wait", directive="waiting", outcome="snoozed", data=told)


async def bury(host: Host, session_id: str, fence: int, rev: int, reason: str, detail: str) -> None:
    """Make a session that we hold a dead letter without another word about its state."""
    detail = redact(detail)
    entry = Entry(
        kind="step",
        actor=host.name,
        outcome="failed",
        fence=fence,
        set={"failure": ""},  # what failed before is not what it dies of
        data={"reason": reason, "detail": detail[:1000]},
    )
    commit = Commit(
        directive="dead",
        fields={"failure": ""},
        entries=(entry.to_json(),),
        status=detail[:MOST_DETAIL_CHARS],
        reason=reason,
        counters={"step:wait:failed:1": 1, "spent:wait:failed": 0},
    )
    log.error("session %s: buried (%s): %s", session_id, reason, detail)
    try:
        await host.leases.commit(session_id, fence, rev, commit)
    except LeaseLost as error:
        log.warning("%s", error)
