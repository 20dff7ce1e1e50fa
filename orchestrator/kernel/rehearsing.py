"""Going through a recorded session again: how it stood before each step, and where a step would come out otherwise.

Pure. Which code does the steps again, and with what in place of the world, is the caller's.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import Unreadable
from orchestrator.contracts.failures import to_record
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Post, Record, Wait
from orchestrator.kernel.change import Change

#: What differs, how it was, how it would be.
Difference: TypeAlias = tuple[str, JsonValue, JsonValue]

#: Parts of a wait that say nothing about what the app decided: names, times, traces, and ids of children.
_NOT_COMPARED: Final = {"wait_id", "since_at", "deadline_at", "trace", "children"}

#: What a record's hash has from the beginning, whatever was submitted.
_BEGINNING: Final = {"phase": "running", "rev": "0", "fence": "0", "attempts": "1", "seq": "1", "rank": "1"}


class Tape:
    """A journal as far as it was read: the session's fields, context, posts and announced calls."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}
        self._state: JsonObject = {}
        self._messages: list[Message] = []
        self._posts: deque[Post] = deque()
        self._announced: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """Read one more entry."""
        if entry.kind == "submitted":
            self._fields = dict(_BEGINNING)
        self._fields |= {name: text for name, text in entry.set.items() if name not in {"phase", "status", "state"}}
        if entry.set.get("phase") == "finalizing":
            self._fields["phase"] = "finalizing"
        if "state" in entry.set:
            whole = load_json(entry.set["state"])
            self._state = whole if isinstance(whole, dict) else {}
        self._state = {
            name: value for name, value in {**self._state, **entry.state}.items() if name not in entry.dropped
        }
        self._messages += [Message.from_json(text) for text in entry.messages]
        for _ in range(entry.taken):
            self._posts.popleft()
        if entry.kind == "posted" and isinstance(entry.data.get("post"), dict):
            self._posts.append(Post.model_validate(entry.data["post"]))
        if "announced" in entry.data:
            self._announced[str(entry.data["announced"])] = entry.fence
        for call in entry.calls:
            self._announced.pop(call.call_id, None)

    def fields(self) -> dict[str, str]:
        """Return the session's hash fields as they stood; raise Unreadable where the journal has no beginning."""
        if not self._fields:
            raise Unreadable("journal: it has no beginning; restore a backup")
        at = {"created": "0", "since": "0", "updated": "0"}
        return {**at, **self._fields, "state": dump_json(self._state)}

    def messages(self) -> tuple[Message, ...]:
        """Return the context as it stood."""
        return tuple(self._messages)

    def posts(self, count: int) -> list[Post]:
        """Return the posts that a step took."""
        return [self._posts[number] for number in range(min(count, len(self._posts)))]

    def intents(self, record: Record) -> dict[str, PendingCall]:
        """Return the calls that were announced and had no outcome."""
        return {call.call_id: call for call in record.cursor.calls if call.call_id in self._announced}

    def announced_under(self, fence: int) -> set[str]:
        """Return the calls that the holder with this fence had announced itself."""
        return {call_id for call_id, held in self._announced.items() if held == fence}

    def time_of(self, record: Record, entry: Entry) -> int:
        """Return a time for a step under which exactly those deadlines are over that were over then."""
        wait, notes = record.wait, entry.data.get("posts")
        if wait is None or wait.deadline_at is None:
            return entry.at
        is_over = isinstance(notes, list) and any(
            isinstance(one, dict) and one.get("what") == "deadline" for one in notes
        )
        return max(entry.at, wait.deadline_at) if is_over else min(entry.at, wait.deadline_at - 1)


def is_recorded_whole(before: Record, entry: Entry) -> bool:
    """Say whether all that a step met is in the journal, so that it can be done again."""
    if entry.step in {"plugin_pass", "compact"} or entry.outcome in {"failed", "snoozed", "cancelled", "orphaned"}:
        return False
    if "turn_limit" in entry.data or "error" in entry.data or before.cursor.stop == "cancelled":
        return False
    if before.wait is not None and before.wait.kind in {"child", "retry"}:
        return False  # who ended meanwhile, or that nothing was left to do but to try again
    asks_again = before.wait is not None and entry.step == "wait" and entry.outcome == "suspended"
    return not (asks_again and not entry.taken)


def compare(before: Record, entry: Entry, change: Change) -> Iterator[Difference]:
    """Yield where a step, done again, would not be what was committed then."""
    after = change.record
    if entry.step != change.step:
        yield "step", entry.step, change.step
    was, now = entry.set.get("phase", "ready"), change.directive
    now_phase = "ready" if now == "continue" else now
    if was != now_phase:
        yield "goes to", was, now_phase
    if entry.set.get("status", "") != change.status:
        yield "status", entry.set.get("status") or None, change.status or None
    yield from _compare_cursors(
        Cursor.from_json(entry.set["cursor"]) if "cursor" in entry.set else before.cursor, after.cursor
    )
    yield from _compare_waits(_read_wait(entry, before), after.wait)
    state = {name: value for name, value in {**before.state, **entry.state}.items() if name not in entry.dropped}
    for name in sorted({*state, *after.state}):
        if state.get(name) != after.state.get(name):
            yield f"state.{name}", state.get(name), after.state.get(name)
    said = [Message.from_json(text) for text in entry.messages]
    if said != list(change.messages):
        yield "messages", [_tell(one) for one in said], [_tell(one) for one in change.messages]
    fields = load_json(entry.set["fields"]) if entry.set.get("fields") else before.fields
    if fields != after.fields:
        yield "fields", fields, after.fields


def describe_failure(error: BaseException) -> str:
    """Return what a step would fail with, in one line."""
    failure = to_record(error)
    return f"{failure.error}: {failure.message}"


def _compare_cursors(was: Cursor, now: Cursor) -> Iterator[Difference]:
    for name in Cursor.model_fields:
        old, new = getattr(was, name), getattr(now, name)
        if name == "calls":
            old, new = [_tell_call(call) for call in old], [_tell_call(call) for call in new]
        elif name == "place":
            continue
        if old != new:
            yield f"cursor.{name}", _plain(old), _plain(new)


def _compare_waits(was: Wait | None, now: Wait | None) -> Iterator[Difference]:
    old, new = _tell_wait(was), _tell_wait(now)
    if (old is None) is not (new is None):
        yield "wait", old, new
        return
    for name in sorted({*(old or ()), *(new or ())}):
        before, after = (old or {}).get(name), (new or {}).get(name)
        if before != after:
            yield f"wait.{name}", before, after


def _read_wait(entry: Entry, before: Record) -> Wait | None:
    if "wait" not in entry.set:
        return before.wait
    return Wait.from_json(entry.set["wait"]) if entry.set["wait"] else None


def _tell_wait(wait: Wait | None) -> JsonObject | None:
    if wait is None:
        return None
    told: JsonObject = wait.model_dump(mode="json", exclude=_NOT_COMPARED, exclude_defaults=True)
    if wait.deadline_at is not None and wait.kind != "child":
        told["seconds"] = (wait.deadline_at - wait.since_at) // 1000
    if wait.children:
        told["children"] = len(wait.children)
    if wait.call is not None:
        told["call"] = _tell_call(wait.call)
    return told


def _tell_call(call: PendingCall) -> JsonObject:
    told: JsonObject = call.model_dump(mode="json", exclude={"key"}, exclude_defaults=True)
    return told


def _tell(message: Message) -> JsonObject:
    told: JsonObject = message.model_dump(mode="json", exclude_defaults=True)
    return told


def _plain(value: object) -> JsonValue:
    return load_json(dump_json(value))
