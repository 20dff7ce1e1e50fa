"""From a step's decision to what is written: hash fields, one journal entry, context messages.

The entry holds everything that the commit changes, so that the journal alone rebuilds the
session (kernel/rebuild.py); the state goes in as the keys that changed, never as a whole.
"""

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.session import ASKING, Record
from orchestrator.kernel.change import Change
from orchestrator.kernel.delivery import Delivery
from orchestrator.store.codec import encode_changes
from orchestrator.store.leases import Commit, Directive


def state_changes(before: JsonObject, after: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
    """Return the keys whose values changed, and those that went."""
    if before is after:
        return {}, ()
    changed = {key: value for key, value in after.items() if key not in before or before[key] is not value}
    if before.keys() <= after.keys():  # nearly always, and much quicker to find out
        return changed, ()
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
    counters: dict[str, int] | None = None,
    keep: bool = False,
    ends_at: int | None = None,
) -> Commit:
    """Return the commit of one step. `before` is the session as the store holds it.

    A session that waits is woken at `ends_at` at the latest: then its time is spent.
    """
    after = change.record
    fields = encode_changes(before, after)
    changed, dropped = state_changes(before.state, after.state)
    messages = tuple(message.to_json() for message in change.messages) if change.messages else ()
    data = {**change.data, "posts": list(delivery.notes)} if delivery.notes else change.data
    noted = fields.copy()
    noted.pop("state", None)  # it goes in as the keys that changed
    if directive != "continue":
        noted["phase"] = directive
    if change.status:
        noted["status"] = change.status
    # An Entry's fields, without the Entry: validating what we have just made ourselves cost a tenth of a step.
    entry: dict[str, object] = {
        "kind": "step",
        "actor": actor,
        "step": change.step,
        "skill": before.cursor.skill,
        "outcome": change.outcome,
        "attempt": attempt,
        "fence": before.fence,
        "set": noted,
        "ms": int(seconds * 100_000 + 0.5) / 100,  # rounding to digits takes five times as long
    }
    if changed:
        entry["state"] = changed
    if dropped:
        entry["dropped"] = dropped
    if messages:
        entry["messages"] = messages
    if change.calls:
        entry["calls"] = [call.model_dump(mode="json", exclude_defaults=True) for call in change.calls]
    if delivery.taken:
        entry["taken"] = delivery.taken
    if data:
        entry["data"] = data
    wait = after.wait
    due_at = wait.deadline_at if directive == "waiting" and wait is not None else None
    if directive == "waiting" and ends_at is not None:
        due_at = ends_at if due_at is None else min(due_at, ends_at)
    return Commit(
        directive=directive,
        fields=fields,
        entries=(dump_json(entry),),
        messages=messages,
        taken=delivery.taken,
        intents={call.call_id: call.to_json() for call in change.intents} if change.intents else None,
        cleared=change.cleared,
        due_at=due_at,
        sent_ms=sent_ms,
        status=change.status if directive == "ended" else change.detail,
        reason=change.reason,
        counters=counters,
        keep=keep,
        asks=wait.kind if wait is not None and wait.kind in ASKING else "",
    )
