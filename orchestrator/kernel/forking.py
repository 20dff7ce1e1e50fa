"""How a session stood at one entry of its journal, and how another one begins there.

    mark at or before the entry  →  fold the entries after it  →  Point  →  plan_fork  →  a new session's first record

A fork does again what its origin did from that entry on, for itself:
- What the origin waited for it comes to wait for anew, with an id, a deadline and children of its own. Posts that were not
  taken stay with the origin: an answer was given to that session, and so was an approval.
- A call that nobody had announced gets a key of its own, and is asked about again where its risk asks for it. One that was
  announced may have acted: it keeps its key, and counts as uncertain, as after a crash.
- What hooks made of the context stays as they made it: prompts that they changed, texts that wait for their place.
- Grants, budgets, failures, a cancel are the origin's and are not taken over.

Pure. Reading the journal, minting the id and creating the session is `orchestrator/forks.py`. The names of the stored fields
are those of the record's hash (`store/codec.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias, TypeVar

from pydantic import JsonValue, ValidationError

from orchestrator.contracts.base import Frozen, JsonObject, load_json
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.errors import PhaseRefused, Unreadable
from orchestrator.contracts.event_names import SESSION_FORK
from orchestrator.contracts.hooks import HookMemory
from orchestrator.contracts.session import Cursor, PendingCall, Record, ToolCall

#: One entry as it is stored: its number, the store's time in ms, its body.
StoredEntry: TypeAlias = tuple[int, int, JsonObject]

#: Phases behind which nothing is left to do.
_CLOSED: Final = frozenset({"finalizing", "ended"})
#: Fields without which there is no session to begin.
_NEEDED: Final = ("app", "spec", "rank", "cursor")

_Shape = TypeVar("_Shape", bound=Frozen)


class Point(NamedTuple):
    """A session as it stood right after entry `seq`, written at `at` (store's ms).

    `fields` are the hash fields as stored, without the state; `messages` is how many the context had; `announced` names the
    calls that may have acted; `open_seq` is the last entry seen up to here after which there was still something to do.
    """

    seq: int
    at: int
    fields: dict[str, str]
    state: JsonObject
    messages: int
    announced: frozenset[str]
    open_seq: int = 0


class Fork(NamedTuple):
    """What a fork begins with: its record, the calls that may have acted, and what its first entry tells."""

    record: Record
    intents: dict[str, PendingCall]
    data: JsonObject


def read_mark(seq: int, mark: Mapping[str, str]) -> Point:
    """Return the point that a mark kept; raise Unreadable."""
    fields = {name: text for name, text in mark.items() if not name.startswith("#") and name != "state"}
    announced = frozenset(filter(None, mark.get("#announced", "").split("\n")))
    messages = _read_number("#messages", mark.get("#messages", ""))
    _check_complete(fields)
    point = Point(seq, 0, fields, _read_object("state", mark.get("state", "")), messages, announced)
    return point._replace(open_seq=seq if _is_open(point.fields) else 0)


def fold_point(before: Point | None, entries: Iterable[StoredEntry]) -> Point:
    """Return the point behind these entries, which follow on `before` or on nothing; raise Unreadable for a gap.

    Unreadable, too, are entries that are none: fields that are no texts, a beginning without what makes a session.
    """
    point = before or Point(0, 0, {}, {}, 0, frozenset())
    seq, at, messages, open_seq = point.seq, point.at, point.messages, point.open_seq
    fields, state, announced = dict(point.fields), dict(point.state), set(point.announced)
    is_open = _is_open(fields)
    for number, written_at, body in entries:
        if number != seq + 1 or (seq == 0) is not (body.get("kind") == "submitted"):
            raise Unreadable(f"journal: entry {seq + 1} is missing, found {number}; restore a backup")
        seq, at = number, written_at
        kind, written = body.get("kind"), _read_fields(number, body.get("set"))
        if not isinstance(kind, str):
            raise Unreadable(f"journal: entry {number} has no kind; restore a backup")
        fields.update(written)
        if "state" in written:
            state = _read_object("state", fields.pop("state"))
        if kind == "submitted":
            _check_complete(fields)
        if kind == "step" and fields.get("phase") == "waiting" and "phase" not in written:
            fields["phase"] = "ready"
        elif kind in {"buried", "replayed"}:
            fields["phase"] = "dead" if kind == "buried" else "ready"
        changed, dropped = body.get("state"), body.get("dropped")
        if isinstance(changed, dict):
            state.update(changed)
        for key in dropped if isinstance(dropped, list) else ():
            state.pop(str(key), None)
        said, data = body.get("messages"), body.get("data")
        messages += len(said) if isinstance(said, list) else 0
        if isinstance(data, dict) and "announced" in data:
            announced.add(str(data["announced"]))
        if kind in {"step", "submitted"} and written:
            is_open = _is_open(fields)
        if is_open:
            open_seq = seq
    if not seq:
        raise Unreadable("journal: it is empty; restore a backup")
    return Point(seq, at, fields, state, messages, frozenset(announced), open_seq)


def is_open(point: Point) -> bool:
    """Say whether there was something left to do at a point: it can be forked."""
    return _is_open(point.fields)


def plan_fork(
    point: Point,
    origin: str,
    session_id: str,
    *,
    actor: str,
    state: JsonObject | None = None,
    spec: str | None = None,
    injected_ids: Iterable[str] = (),
) -> Fork:
    """Return what a fork of `origin` at a point begins with; raise PhaseRefused where nothing was left to do.

    `state` takes the place of the one at that point, `spec` of the app's version; `injected_ids` are the arguments by which
    tools are told the session's id.
    """
    if not is_open(point):
        raise PhaseRefused(
            f"session {origin}: at entry {point.seq} it comes to its end; fork it at {point.open_seq or 'an entry'} or before"
        )
    fields = point.fields
    cursor = _read_needed(Cursor, fields, "cursor")  # what is open has one
    terminal, compacted = _read_shape(ToolCall, fields, "terminal"), _read_shape(Compacted, fields, "compacted")
    memory = _read_shape(HookMemory, fields, "hooks")
    names = frozenset(injected_ids)
    calls = tuple(
        call.model_copy(update={"resolution": None})
        if call.call_id in point.announced
        else _own_call(call, origin, session_id, names)
        for call in cursor.calls
    )
    unknown = {call.call_id: call for call in calls if call.call_id in point.announced and call.effect != "read_only"}
    version = spec or fields["spec"]
    record = Record(
        session_id=session_id,
        app=fields["app"],
        spec=version,
        phase="ready",
        actor=actor,
        text=fields.get("text", ""),
        parent=origin,
        forked_at=point.seq,
        level=_read_number("level", fields.get("level", "0")),
        cursor=cursor.model_copy(update={"calls": calls, "failures": 0}),
        state=point.state if state is None else state,
        terminal_call=terminal,
        fields=_read_object("fields", fields.get("fields", "")),
        catalogue=fields.get("catalogue", "") if spec is None else "",
        compacted=compacted,
        hooks=_own_memory(memory) if memory is not None else None,
    )
    data: JsonObject = {"event": SESSION_FORK, "parent": origin, "session_id": session_id, "at": point.seq}
    if state is not None:
        data["state"] = list[JsonValue](
            sorted(key for key in {*state, *point.state} if state.get(key) != point.state.get(key))
        )
    if version != fields["spec"]:
        data["version"] = {"was": fields["spec"], "is": version}
    if unknown:
        data["uncertain"] = list[JsonValue](sorted(unknown))
    return Fork(record, unknown, data)


def _own_call(call: PendingCall, origin: str, session_id: str, names: frozenset[str]) -> PendingCall:
    """Return a call as this session would have lined it up: nothing that was said of it holds here."""
    key = f"{session_id}/{call.call_id}"
    args = {
        name: key if value == call.key else session_id if name in names and value == origin else value
        for name, value in call.args.items()
    }
    kept = call.model_dump(include={"call_id", "tool", "effect", "risk", "action"})
    return PendingCall(args=args, key=key, **kept)


def _own_memory(memory: HookMemory) -> HookMemory | None:
    """Return what a fork keeps for its hooks: what they made of the context, and nothing that was said to the origin."""
    own = HookMemory(pending=memory.pending, ephemeral=memory.ephemeral, rewritten=memory.rewritten)
    return None if own == HookMemory() else own


def _is_open(fields: Mapping[str, str]) -> bool:
    if fields.get("phase") in _CLOSED or not fields.get("cursor"):
        return False
    return _read_object("cursor", fields["cursor"]).get("stage") != "end"


def _check_complete(fields: Mapping[str, str]) -> None:
    """Raise Unreadable for a session that nobody could begin: what makes one is in its first entry."""
    missing = [name for name in _NEEDED if not fields.get(name)]
    if missing:
        raise Unreadable(f"journal: its beginning has no {', '.join(missing)}; restore a backup")


def _read_fields(number: int, written: JsonValue) -> dict[str, str]:
    """Return the hash fields that an entry names, which are texts; raise Unreadable."""
    found: dict[str, str] = {}
    for name, text in written.items() if isinstance(written, dict) else ():
        if not isinstance(text, str):
            raise Unreadable(f"journal: entry {number}: field {name!r} is no text; restore a backup")
        found[name] = text
    if written is not None and not isinstance(written, dict):
        raise Unreadable(f"journal: entry {number}: its fields are no object; restore a backup")
    return found


def _read_object(name: str, text: str) -> JsonObject:
    try:
        read = load_json(text) if text else {}
    except ValueError as error:
        raise Unreadable(f"journal: field {name!r} is no JSON ({error}); restore a backup") from error
    return read if isinstance(read, dict) else {}


def _read_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Unreadable(f"journal: {name!r} is no number; restore a backup")
    return int(text)


def _read_shape(shape: type[_Shape], fields: Mapping[str, str], name: str) -> _Shape | None:
    """Return what a field holds, None where it is empty; raise Unreadable."""
    return _read_needed(shape, fields, name) if fields.get(name) else None


def _read_needed(shape: type[_Shape], fields: Mapping[str, str], name: str) -> _Shape:
    """Return what a field holds; raise Unreadable."""
    try:
        return shape.from_json(fields[name])
    except ValidationError as error:
        raise Unreadable(
            f"journal: field {name!r} cannot be read ({error.error_count()} faults); restore a backup"
        ) from error
