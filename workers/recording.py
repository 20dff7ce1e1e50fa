"""From a step's decision to what is written: hash fields, one journal entry, context messages.

The entry holds everything that the commit changes, so that the journal alone rebuilds the
session (kernel/rebuild.py); the state goes in as the keys that changed, never as a whole.
"""

from bisect import bisect_left

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import Entry, Record
from orchestrator.kernel.change import Change
from orchestrator.kernel.delivery import Delivery
from orchestrator.store.codec import encode_changes
from orchestrator.store.leases import Commit, Directive

#: Upper bounds of the duration histogram, in milliseconds; the store counts, the exporter reads.
BUCKETS_MS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000)


def duration_bucket(step: str, seconds: float) -> str:
    """Return the counter's name for a step of this length.

    >>> duration_bucket("compute", 0.004), duration_bucket("compute", 500)
    ('ms:compute:5', 'ms:compute:inf')
    """
    place = bisect_left(BUCKETS_MS, seconds * 1000)
    return f"ms:{step}:{BUCKETS_MS[place] if place < len(BUCKETS_MS) else 'inf'}"


def state_changes(before: JsonObject, after: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
    """Return the keys whose values changed, and those that went."""
    if before is after:
        return {}, ()
    changed = {key: value for key, value in after.items() if key not in before or before[key] is not value}
    return changed, tuple(key for key in before if key not in after)


def encode(
    before: Record,
    change: Change,
    directive: Directive,
    delivery: Delivery,
    *,
    attempt: int,
    actor: str,
    seconds: float,
    sent_ms: int = 0,
) -> Commit:
    """Return the commit of one step. `before` is the session as the store holds it."""
    after = change.record
    fields = encode_changes(before, after)
    changed, dropped = state_changes(before.state, after.state)
    messages = tuple(message.to_json() for message in change.messages)
    data = change.data
    if delivery.notes:
        data = {**data, "posts": list(delivery.notes)}
    noted = {name: value for name, value in fields.items() if name != "state"}
    if directive != "continue":
        noted["phase"] = directive
    if change.status:
        noted["status"] = change.status
    entry = Entry(
        kind="step",
        actor=actor,
        step=change.step,
        skill=before.cursor.skill,
        outcome=change.outcome,
        attempt=attempt,
        fence=before.fence,
        set=noted,
        state=changed,
        dropped=dropped,
        messages=messages,
        calls=change.calls,
        taken=delivery.taken,
        ms=round(seconds * 1000, 2),
        data=data,
    )
    wait = after.wait
    return Commit(
        directive=directive,
        fields=fields,
        entries=(entry.to_json(),),
        messages=messages,
        taken=delivery.taken,
        intents={call.call_id: call.to_json() for call in change.intents} if change.intents else None,
        cleared=change.cleared,
        due_at=wait.deadline_at if directive == "waiting" and wait is not None else None,
        sent_ms=sent_ms,
        status=change.status if directive == "ended" else change.detail,
        reason=change.reason,
        stat=f"step:{change.step}:{change.outcome}",
        bucket=duration_bucket(change.step, seconds),
    )
