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
from typing import Final, NamedTuple, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.errors import PhaseRefused, Unreadable
from orchestrator.contracts.event_names import SESSION_FORK
from orchestrator.contracts.hooks import HookMemory
from orchestrator.contracts.session import Cursor, PendingCall, Record, ToolCall

#: One entry as it is stored: its number, the store's time in ms, its body.
StoredEntry: TypeAlias = tuple[int, int, JsonObject]

#: Phases behind which nothing is left to do.
_CLOSED: Final = frozenset({"finalizing", "ended"})


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
    """Return the point that a mark kept."""
    fields = {name: text for name, text in mark.items() if not name.startswith("#") and name != "state"}
    announced = frozenset(filter(None, mark["#announced"].split("\n")))
    point = Point(seq, 0, fields, _read_object(mark.get("state", "")), int(mark["#messages"]), announced)
    return point._replace(open_seq=seq if _is_open(point.fields) else 0)


def fold_point(before: Point | None, entries: Iterable[StoredEntry]) -> Point:
    """Return the point behind these entries, which follow on `before` or on nothing; raise Unreadable for a gap."""
    point = before or Point(0, 0, {}, {}, 0, frozenset())
    seq, at, messages, open_seq = point.seq, point.at, point.messages, point.open_seq
    fields, state, announced = dict(point.fields), dict(point.state), set(point.announced)
    is_open = _is_open(fields)
    for number, written_at, body in entries:
        if number != seq + 1 or (seq == 0) is not (body.get("kind") == "submitted"):
            raise Unreadable(f"journal: entry {seq + 1} is missing, found {number}; restore a backup")
        seq, at = number, written_at
        written = body.get("set")
        if isinstance(written, dict):
            fields.update(written)  # type: ignore[arg-type]  # of hash fields, which are texts
            if "state" in written:
                state = _read_object(fields.pop("state"))
        kind = body["kind"]
        if kind == "step" and fields.get("phase") == "waiting" and "phase" not in (written or ()):  # type: ignore[operator]
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
    cursor = Cursor.from_json(fields["cursor"])
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
        level=int(fields.get("level", "0")),
        cursor=cursor.model_copy(update={"calls": calls, "failures": 0}),
        state=point.state if state is None else state,
        terminal_call=ToolCall.from_json(fields["terminal"]) if fields.get("terminal") else None,
        fields=_read_object(fields.get("fields", "")),
        catalogue=fields.get("catalogue", "") if spec is None else "",
        compacted=Compacted.from_json(fields["compacted"]) if fields.get("compacted") else None,
        hooks=_own_memory(HookMemory.from_json(fields["hooks"])) if fields.get("hooks") else None,
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
    return _read_object(fields["cursor"]).get("stage") != "end"


def _read_object(text: str) -> JsonObject:
    read = load_json(text) if text else {}
    return read if isinstance(read, dict) else {}
