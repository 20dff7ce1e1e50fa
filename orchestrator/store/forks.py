"""Creating a session that begins where another one stood: one act, with its context and its open calls.

What it begins with is decided in kernel/forking.py; which entry that was, and whether it may be, is orchestrator/forks.py.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import KeyConflict, PayloadTooLarge, StoreError
from orchestrator.contracts.session import Entry, PendingCall, Record
from orchestrator.store.codec import encode_changes, encode_submission
from orchestrator.store.keys import APPS, BELL
from orchestrator.store.request_keys import mark_of
from orchestrator.store.store import Store

#: How much of a context one `carried` entry holds, at most, and about.
CARRIED_MESSAGES: Final = 500
CARRIED_BYTES: Final = 524_288

#: What a fork may bring along that no submission does.
_BROUGHT: Final[JsonObject] = {"terminal_call": None, "fields": {}, "catalogue": "", "compacted": None}


async def create_fork(
    store: Store,
    record: Record,
    *,
    rank: str,
    intents: Mapping[str, PendingCall],
    messages: Sequence[str],
    data: JsonObject,
    stamp: str,
    key: str | None = None,
    key_seconds: int = 0,
) -> bool:
    """Create the session; return False where this very fork (`stamp`) was created before. Raise PayloadTooLarge or KeyConflict.

    `rank` is its place among others as the store keeps it, `messages` its context as stored; `key` is the
    idempotency key that stands for it, for `key_seconds`.
    """
    fields = encode_submission(record) | encode_changes(record.model_copy(update=_BROUGHT), record)
    fields["rank"] = rank
    limits = store.limits
    for name, limit in (("text", limits.text_bytes), ("state", limits.state_bytes)):
        if (size := len(fields[name].encode())) > limit:
            raise PayloadTooLarge(f"fork: {name}", size, limit)
    if len(messages) > limits.context_messages:
        raise PayloadTooLarge("fork: context", len(messages), limits.context_messages, unit="messages")
    entry = Entry(kind="submitted", actor=record.actor, set=fields, data=data)
    if store.format > 1:
        fields["format"] = str(store.format)
    if key is not None:  # for how long `prune` must leave a trace of it; no part of the session, nor of its journal
        fields |= {"key_seconds": str(key_seconds), "key": mark_of(key)}
    await store.command_beside("SADD", APPS, record.app)
    reply = await store.act(
        "fork",
        record.session_id,
        stamp,
        BELL,
        entry.to_json(),
        len(fields),
        len(intents),
        record.actor,
        CARRIED_MESSAGES,
        CARRIED_BYTES,
        *(part for pair in fields.items() for part in pair),
        *(part for call_id, call in intents.items() for part in (call_id, call.to_json())),
        *messages,
        critical=True,
    )
    if reply[0] in {"created", "existing"}:
        return bool(reply[0] == "created")
    if reply[0] == "taken" and key is not None:  # who had the key from one that died, too, was quicker
        raise KeyConflict(key, record.session_id)
    raise StoreError(f"session {record.session_id}: fork refused ({reply[0]}); was the id counter reset?")
