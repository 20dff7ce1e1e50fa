"""The JSON that commands print: stable, with times as ISO 8601 in UTC, and documented in docs/reference/cli.md.

A field is added here, never renamed. What the store holds may change under it.
"""

from datetime import UTC, datetime

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.hooks import Grant
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Entry, Record, Wait
from orchestrator.contracts.streaming import StreamPiece
from orchestrator.interfaces.cli.wording import list_commands
from orchestrator.search import Unread


def iso(at: int) -> str | None:
    """Return the store's milliseconds as text, None for never.

    >>> iso(0), iso(1_795_219_200_500)
    (None, '2026-11-21T00:00:00.500Z')
    """
    if not at:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def session_line(record: Record) -> JsonObject:
    """Return a session as `list` prints it."""
    return {
        "session_id": record.session_id,
        "app": record.app,
        "phase": record.phase,
        "status": record.status,
        "skill": record.cursor.skill,
        "waits_for": record.wait.kind if record.wait else None,
        "priority": record.priority,
        "text": record.text,
        "parent": record.parent,
        "reason": record.reason,
        "created_at": iso(record.created_at),
        "since_at": iso(record.since_at),
        "updated_at": iso(record.updated_at),
    }


def unread_shape(unread: Unread) -> JsonObject:
    """Return what a list says of a session that this Baton cannot read: where it stands, and why not."""
    return {
        "session_id": unread.row.session_id,
        "app": unread.row.app,
        "phase": unread.phase,
        "since_at": iso(unread.row.since_at),
        "detail": unread.why,
    }


def unread_line(unread: Unread) -> JsonObject:
    """Return a session that cannot be read as `list` prints it: what the index tells, and in `unreadable` why not more."""
    return {
        "session_id": unread.row.session_id,
        "app": unread.row.app,
        "phase": unread.phase,
        "status": unread.row.bucket.partition("/")[2] or None if unread.phase == "ended" else None,
        **dict.fromkeys(("skill", "waits_for", "priority", "text", "parent", "reason", "created_at")),
        "since_at": iso(unread.row.since_at),
        "updated_at": None,
        "unreadable": unread.why,
    }


def failure_shape(failure: FailureRecord | None) -> JsonObject | None:
    """Return how a try failed: `error` names its class, `lineage` the known classes that it belongs to."""
    return None if failure is None else failure.model_dump(mode="json")


def session_shape(record: Record) -> JsonObject:
    """Return a session as `show` prints it."""
    cursor = record.cursor
    return {
        **session_line(record),
        "actor": record.actor,
        "spec": record.spec,
        "forked_at": record.forked_at or None,
        "level": record.level,
        "queue": record.queue,
        "failure": failure_shape(record.failure),
        "cursor": {
            "skill": cursor.skill,
            "stage": cursor.stage,
            "steps": cursor.serial,
            "turn": cursor.turn,
            "failures": cursor.failures,
            "confidence": cursor.confidence,
            "rationale": cursor.rationale,
            "stop": cursor.stop,
            "stop_reason": cursor.stop_reason,
            "calls": [call.model_dump(mode="json", exclude={"asked": {"request_state"}}) for call in cursor.calls],
            "place": cursor.place.model_dump(mode="json") if cursor.place else None,
        },
        "wait": wait_shape(record) if record.wait else None,
        "compacted": record.compacted.model_dump(mode="json") if record.compacted else None,
        "always_allowed": [grant_shape(grant) for grant in record.hooks.grants] if record.hooks else [],
        "cancel": record.cancel,
        "cancel_immediate": record.cancel_immediate,
        "state": record.state,
        "fields": record.fields,
        "rev": record.rev,
        "fence": record.fence,
        "holder": record.holder or None,
        "attempts": record.attempts,
        "entries": record.seq,
        "replays": record.replays,
        "spent": spent_shape(record),
    }


def grant_shape(grant: Grant) -> JsonObject:
    """Return a call that a session need not ask about again."""
    return {**grant.model_dump(mode="json"), "at": iso(grant.at)}


def wait_shape(record: Record) -> JsonObject | None:
    """Return what a session waits for, with the commands that answer it."""
    wait: Wait | None = record.wait
    if wait is None:
        return None
    return {
        "wait_id": wait.wait_id,
        "kind": wait.kind,
        "since_at": iso(wait.since_at),
        "deadline_at": iso(wait.deadline_at or 0),
        "prompt": wait.prompt,
        "options": list(wait.options),
        "roster": list(wait.roster),
        "teams": list(wait.teams),
        "call": wait.call.model_dump(mode="json") if wait.call else None,
        "digest": wait.digest or None,
        "signal": wait.signal,
        "children": dict(wait.children),
        "reason": wait.reason,
        "prompt_id": wait.prompt_id or None,
        "hook": wait.hook or None,
        "default": wait.default if wait.hook else None,
        "fields": [field.model_dump(mode="json") for field in wait.fields],
        "answered": record.answered,
        "answer_with": list(list_commands(record)),
    }


def entry_shape(entry: Entry) -> JsonObject:
    """Return a journal entry as `events` prints it."""
    return {
        "seq": entry.seq,
        "at": iso(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "step": entry.step,
        "skill": entry.skill or None,
        "outcome": entry.outcome,
        "attempt": entry.attempt,
        "fence": entry.fence,
        "ms": entry.ms,
        "calls": [call.model_dump(mode="json") for call in entry.calls],
        "posts_taken": entry.taken,
        "set": dict(entry.set),
        "state": entry.state,
        "dropped": list(entry.dropped),
        "messages": [load_json(message) for message in entry.messages],
        "data": entry.data,
    }


def piece_shape(piece: StreamPiece) -> JsonObject:
    """Return a piece of what a model is writing as `watch` prints it; `offset` is where one goes on behind it."""
    return piece.model_dump(mode="json")


def spent_shape(record: Record) -> JsonObject | None:
    """Return what a session has used, None where its app has no budget; money as text, for it is exact."""
    spent = record.spent
    if spent is None:
        return None
    return {
        "turns": spent.turns,
        "tool_calls": spent.tool_calls,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost": str(spent.cost),
        "warned": list(spent.warned),
    }


def message_shape(number: int, message: Message) -> JsonObject:
    """Return a message of a session's context."""
    return {"number": number, **message.model_dump(mode="json")}


def app_shape(spec: AppSpec) -> JsonObject:
    """Return an app as `apps list` prints it."""
    return {
        "app": spec.name,
        "version": spec.version,
        "description": spec.description,
        "prefix": spec.session_id_prefix,
        "digest": spec.digest(),
        "entry_skill": spec.entry_skill,
        "skills": [*sorted(spec.skills)],
        "statuses": {name: status.kind for name, status in spec.statuses.items()},
        "provider": spec.model.provider,
        "folder": spec.root,
    }
