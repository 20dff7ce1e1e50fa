"""Between a record and its hash: one place that knows how each field is stored.

The hash also holds bookkeeping that no decision reads (`last`, `posts`, `submit`, `claimed`, …);
what cannot be read as a Record raises Unreadable, and its session is buried instead of retried.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import TypeAdapter, ValidationError

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.budgets import Spent
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.errors import Unreadable
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.formats import FORMAT
from orchestrator.contracts.hooks import HookMemory
from orchestrator.contracts.phases import Phase
from orchestrator.contracts.session import Cursor, Priority, Record, ToolCall, Wait

RANKS: Final[dict[Priority, str]] = {"high": "0", "normal": "1", "low": "2"}
_PRIORITIES: Final[dict[str, Priority]] = {rank: priority for priority, rank in RANKS.items()}

#: Before the rank of what needs a worker with a sandbox: in the index it has a line of its own, behind the others.
PLUGINS_MARK: Final = "p"
#: Before the rank of what was asked to stop: it stands before all others, whoever was to take its next step (lib/front.lua).
CANCEL_MARK: Final = "!"
#: Of a record's fields those that lists show: all but the large ones, of which only a session's own page tells.
OUTLINE: Final = (
    "app", "spec", "phase", "status", "rev", "fence", "holder", "attempts", "seq", "rank", "created", "since", "updated",
    "actor", "text", "parent", "forked_at", "level", "cursor", "wait", "answered", "cancel", "immediate", "reason",
    "catalogue", "failure", "hooks", "spent", "replays", "trace", "format",
)  # fmt: skip
_OBJECT: Final[TypeAdapter[JsonObject]] = TypeAdapter(JsonObject)
_PHASE: Final[TypeAdapter[Phase]] = TypeAdapter(Phase)


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Turn a reply of names and values in turn into a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def encode_rank(record: Record) -> str:
    """Return the rank under which a session that is ready stands in line.

    >>> encode_rank(Record(session_id="", app="a", spec="", phase="ready", queue="plugins", cursor=Cursor(skill="s")))
    'p1'
    """
    return (PLUGINS_MARK if record.queue == "plugins" else "") + RANKS[record.priority]


def decode_record(session_id: str, stored: Mapping[str, str]) -> Record:
    """Read a record from its hash; raise Unreadable."""
    get = stored.get
    try:
        return Record(
            session_id=session_id,
            app=stored["app"],
            spec=stored["spec"],
            phase=_PHASE.validate_python(stored["phase"]),
            status=get("status") or None,
            rev=int(stored["rev"]),
            fence=int(stored["fence"]),
            holder=get("holder", ""),
            attempts=int(stored["attempts"]),
            seq=int(stored["seq"]),
            priority=_PRIORITIES[stored["rank"].lstrip(PLUGINS_MARK + CANCEL_MARK)],
            queue="plugins" if stored["rank"].startswith(PLUGINS_MARK) else "steps",
            created_at=int(stored["created"]),
            since_at=int(stored["since"]),
            updated_at=int(stored["updated"]),
            actor=get("actor", ""),
            text=get("text", ""),
            parent=get("parent") or None,
            forked_at=int(get("forked_at", "0")),
            level=int(get("level", "0")),
            cursor=Cursor.model_validate_json(stored["cursor"]),
            state=_OBJECT.validate_json(stored["state"]) if get("state") else {},
            wait=Wait.model_validate_json(stored["wait"]) if get("wait") else None,
            answered=get("answered") == "1",
            cancel=get("cancel") or None,
            cancel_immediate=get("immediate") == "1",
            terminal_call=ToolCall.model_validate_json(stored["terminal"]) if get("terminal") else None,
            fields=_OBJECT.validate_json(stored["fields"]) if get("fields") else {},
            reason=get("reason", ""),
            catalogue=get("catalogue", ""),
            failure=FailureRecord.from_json(stored["failure"]) if get("failure") else None,
            compacted=Compacted.from_json(stored["compacted"]) if get("compacted") else None,
            hooks=HookMemory.from_json(stored["hooks"]) if get("hooks") else None,
            spent=Spent.from_json(stored["spent"]) if get("spent") else None,
            replays=int(get("replays", "0")),
            trace=get("trace", ""),
        )
    except KeyError as error:
        raise Unreadable(f"session {session_id}: its record lacks {error}; {_advise(stored)}") from error
    except ValueError as error:
        raise Unreadable(
            f"session {session_id}: its record cannot be read ({_say(error)}); {_advise(stored)}"
        ) from error


def _say(error: ValueError) -> str:
    """Return what does not fit in one line, without the value: lists tell it to whoever may see them."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{first['type']} at {'.'.join(map(str, first['loc'])) or 'the whole of a field'}: {first['msg']}"


def _advise(stored: Mapping[str, str]) -> str:
    """Say what to do about a record that cannot be read."""
    return advise_newer(stored.get("format")) or "replay or remove it"


def advise_newer(written: str | None) -> str:
    """Say what to do about what cannot be read of a session of this format; "" where no newer Baton wrote it.

    >>> advise_newer("99").partition(",")[0], advise_newer("1"), advise_newer(None)
    ('a newer Baton wrote it (format 99', '', '')
    """
    if written is None or not (written.isascii() and written.isdigit() and int(written) > FORMAT):
        return ""
    return f"a newer Baton wrote it (format {written}, this one reads {FORMAT}): use that one"


def encode_submission(record: Record) -> dict[str, str]:
    """Return the hash fields that `submit` writes of a new record; the script adds the rest."""
    fields = {
        "app": record.app,
        "spec": record.spec,
        "rank": encode_rank(record),
        "actor": record.actor,
        "text": record.text,
        "cursor": record.cursor.to_json(),
        "state": dump_json(record.state),
    }
    if record.parent is not None:
        fields["parent"] = record.parent
    if record.forked_at:
        fields["forked_at"] = str(record.forked_at)
    if record.level:
        fields["level"] = str(record.level)
    if record.trace:
        fields["trace"] = record.trace
    return fields


def encode_changes(before: Record, after: Record) -> dict[str, str]:
    """Return the hash fields that differ between two readings of one session.

    Phase, status, fence, revision and times are the scripts' own and never among them.
    """
    changed: dict[str, str] = {}
    if after.cursor is not before.cursor:
        changed["cursor"] = after.cursor.to_json()
    if after.state is not before.state:
        changed["state"] = dump_json(after.state)
    if after.wait is not before.wait:
        changed["wait"] = after.wait.to_json() if after.wait is not None else ""
        changed["wait_id"] = after.wait.wait_id if after.wait is not None else ""
        changed["answered"] = ""
    if after.terminal_call is not before.terminal_call:
        changed["terminal"] = after.terminal_call.to_json() if after.terminal_call is not None else ""
    if after.fields is not before.fields:
        changed["fields"] = dump_json(after.fields)
    if after.reason != before.reason:
        changed["reason"] = after.reason
    if after.queue != before.queue:
        changed["rank"] = encode_rank(after)
    if after.spec != before.spec:
        changed["spec"] = after.spec
    if after.catalogue != before.catalogue:
        changed["catalogue"] = after.catalogue
    if after.failure is not before.failure:
        changed["failure"] = after.failure.to_json() if after.failure is not None else ""
    if after.compacted is not before.compacted:
        changed["compacted"] = after.compacted.to_json() if after.compacted is not None else ""
    if after.hooks is not before.hooks:
        changed["hooks"] = after.hooks.to_json() if after.hooks is not None else ""
    if after.spent is not before.spent:
        changed["spent"] = after.spent.to_json() if after.spent is not None else ""
    return changed
