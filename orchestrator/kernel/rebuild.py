"""Rebuild a session from its journal alone: what proves that the journal says everything.

Every change of a session is an entry, and an entry holds what it changed: record fields as they
are stored (`set`), the state's changed and dropped keys, the context's new messages, how many
posts were taken. Folding all entries from the first one therefore gives the session again.

Not in the journal, because nothing decides by it later: who holds the lease just now (and that a
session is running), attempts, the times of the index. Those are leases, not history.
Pure: reading the journal is the caller's work, and so is what to do about a difference.
"""

from collections.abc import Iterable, Sequence

from pydantic import JsonValue, ValidationError

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.budgets import Spent
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.errors import Unreadable
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.hooks import HookMemory
from orchestrator.contracts.phases import SETTLED
from orchestrator.contracts.session import Cursor, Entry, Record, ToolCall, Wait

#: Fields of the hash whose text is JSON, and what it is empty.
_JSON: JsonObject = {
    "state": {},
    "fields": {},
    **dict.fromkeys(("cursor", "wait", "terminal", "failure", "compacted", "hooks", "spent")),
}
#: Fields of the hash that the rebuilt session has as they are.
_TEXT = ("app", "spec", "text", "actor", "parent", "forked_at", "level", "reason", "catalogue")


def fold(entries: Iterable[Entry]) -> JsonObject:
    """Return the session that a whole journal describes; raise Unreadable for one with a gap, no beginning, or no JSON.

    `phase` is the phase between two holders: a session that is just claimed reads as "ready" here.
    `messages` are the context's entries as stored, `posts` how many lie in the mailbox.
    """
    session: JsonObject = {}
    messages: list[str] = []
    state: JsonObject = {}
    posts = expected = 0
    for entry in entries:
        expected += 1
        if entry.seq != expected or (expected == 1) is not (entry.kind == "submitted"):
            raise Unreadable(
                f"journal: entry {expected} is missing, found {entry.seq} ({entry.kind}); restore a backup"
            )
        if entry.kind == "submitted":
            session = {"status": None, "rev": 0, "answered": False, "replays": 0, "phase": "ready"}
            session |= {"cancel": None, "cancel_immediate": False}
            session |= dict.fromkeys(_TEXT, "") | dict(_JSON)
        if entry.kind == "posted":
            posts += 1
        _fold_one(session, entry)
        written = _read_fields(entry.set)
        state = _fold_state(state, entry, written)
        session |= written
        messages.extend(entry.messages)
        posts -= entry.taken
        if session["phase"] == "waiting" and posts:
            session["phase"] = "ready"  # what has come must not wait for a deadline
    if not session:
        raise Unreadable("journal: it is empty; restore a backup")
    return {**session, "state": state, "messages": list(messages), "posts": posts, "seq": expected}


def _fold_one(session: JsonObject, entry: Entry) -> None:
    """Apply what an entry means beyond the fields that it names."""
    match entry.kind:
        case "step":
            session["rev"] = int(str(session["rev"])) + 1
            session["phase"] = entry.set.get("phase", "ready" if session["phase"] == "waiting" else session["phase"])
            session["status"] = entry.set.get("status", session["status"])
        case "posted":
            post = entry.data.get("post")
            given = post if isinstance(post, dict) else {}
            if given.get("wait_id"):
                session["answered"] = True
            if given.get("kind") == "cancel":
                session["cancel"] = given.get("text") or "cancelled"
                session["cancel_immediate"] = bool(session["cancel_immediate"] or given.get("immediate"))
        case "buried":
            session |= {"phase": "dead", "reason": entry.data.get("reason", "")}
        case "replayed":
            session |= {"phase": "ready", "reason": "", "replays": int(str(session["replays"])) + 1}
        case "due" | "released" | "orphaned":
            session["phase"] = "finalizing" if session["phase"] == "finalizing" else "ready"


def _read_fields(written: dict[str, str]) -> JsonObject:
    """Read hash fields as an entry names them; bookkeeping that is no part of a session is left out."""
    read: JsonObject = {name: written[name] for name in _TEXT if name in written}
    for name, empty in _JSON.items():
        if name in written:
            read[name] = _read_json(name, written[name]) if written[name] else empty
    if "answered" in written:
        read["answered"] = written["answered"] == "1"
    return read


def _read_json(name: str, text: str) -> JsonValue:
    try:
        return load_json(text)
    except ValueError as error:
        raise Unreadable(f"journal: field {name!r} is no JSON ({error}); restore a backup") from error


def _fold_state(state: JsonObject, entry: Entry, written: JsonObject) -> JsonObject:
    first = written.get("state")
    whole = first if isinstance(first, dict) else state
    return {key: value for key, value in {**whole, **entry.state}.items() if key not in entry.dropped}


def find_differences(record: Record, messages: Sequence[str], posts: int, rebuilt: JsonObject) -> list[str]:
    """Return one line for each part in which a stored session is not what its journal describes.

    A phase is compared where it outlasts a lease: ended, dead, waiting, finalizing.
    """
    stored: JsonObject = {
        "app": record.app,
        "spec": record.spec,
        "text": record.text,
        "actor": record.actor,
        "parent": record.parent or "",
        "forked_at": str(record.forked_at or ""),
        "level": str(record.level or ""),
        "reason": record.reason,
        "catalogue": record.catalogue,
        "status": record.status,
        "rev": record.rev,
        "seq": record.seq,
        "answered": record.answered,
        "cancel": record.cancel,
        "cancel_immediate": record.cancel_immediate,
        "replays": record.replays,
        "state": record.state,
        "fields": record.fields,
        "messages": list(messages),
        "posts": posts,
    }
    if record.phase in SETTLED or record.phase in {"waiting", "finalizing"}:
        stored["phase"] = record.phase
    found = [
        f"{name}: the store has {value!r}, the journal {rebuilt.get(name)!r}"
        for name, value in stored.items()
        if rebuilt.get(name) != value
    ]
    shapes = (
        ("cursor", Cursor, record.cursor),
        ("wait", Wait, record.wait),
        ("terminal", ToolCall, record.terminal_call),
        ("failure", FailureRecord, record.failure),
        ("compacted", Compacted, record.compacted),
        ("hooks", HookMemory, record.hooks),
        ("spent", Spent, record.spent),
    )
    for name, shape, value in shapes:
        body = rebuilt.get(name)
        try:
            told = None if body is None else shape.model_validate(body)
        except ValidationError:
            found.append(f"{name}: the journal has {body!r}, which cannot be read")
            continue
        if told != value:
            found.append(f"{name}: the store has {value!r}, the journal {body!r}")
    return found
