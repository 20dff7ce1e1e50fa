"""What a session is doing, in words: where it is, what it waits for, and the exact command that answers.

Pure: values in, lines out. The words are Baton's own; an app's come out of its records as data.
"""

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Final

from orchestrator.contracts.budgets import Spent
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.hooks import Grant
from orchestrator.contracts.messages import Message
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import Entry, Record, ToolCall, Wait
from orchestrator.interfaces.cli.output import clean, compact, one_line

#: Waits that only a person can end.
FOR_PEOPLE: Final = frozenset({"approval", "input", "uncertain"})

#: Parts of an entry's data that another part of its line tells.
_TOLD_ELSEWHERE: Final = frozenset({"posts", "model", "input_tokens", "output_tokens", "hooks"})

#: Colours by phase, and by the kind of an app's status.
PHASE_STYLES: Final[Mapping[str, str]] = {
    "ready": "cyan",
    "running": "blue",
    "waiting": "yellow",
    "finalizing": "blue",
    "ended": "green",
    "dead": "bold red",
}
KIND_STYLES: Final[Mapping[str, str]] = {
    "success": "green",
    "failure": "red",
    "escalation": "magenta",
    "needs_review": "yellow",
    "pending": "cyan",
}


def waits_for_person(record: Record) -> bool:
    """Say whether a session waits for a person, who has not answered yet."""
    wait = record.wait
    return record.phase == "waiting" and wait is not None and wait.kind in FOR_PEOPLE and not record.answered


def describe_call(tool: str, args: Mapping[str, object], limit: int = 120) -> str:
    """Return a tool call as a person writes it.

    >>> describe_call("srv:close", {"ticket": 7, "word": "yes"})
    'srv:close(ticket=7, word="yes")'
    """
    inner = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in args.items())
    return one_line(f"{tool}({inner})", limit)


def list_commands(record: Record) -> Iterator[str]:
    """Yield the commands that answer what a session waits for."""
    wait, session_id = record.wait, record.session_id
    if record.phase == "dead":
        yield f"baton retry {session_id}"
    if wait is None or record.phase != "waiting" or record.answered:
        return
    who = f" --as {shlex.quote(wait.roster[0])}" if wait.roster else ""
    match wait.kind:
        case "approval":
            yield f"baton approve {session_id}{who}"
            yield f"baton deny {session_id}{who} --reason TEXT"
        case "uncertain":
            yield from (f"baton answer {session_id}{who} --verdict {option}" for option in wait.options)
        case "input":
            offered = wait.options or ("resume_with_input",)
            if wait.prompt_id:
                fields = "".join(f" --field {shlex.quote(one.id + '=' + one.type.upper())}" for one in wait.fields)
                yield f"baton answer {session_id}{who}{fields or ' --value {}'}"
            elif "resume_with_input" in offered:
                yield f"baton answer {session_id}{who} TEXT"
            if "escalate" in offered:
                yield f"baton answer {session_id}{who} --escalate" + (" --team TEAM" if wait.teams else "")
            if "stop" in offered:
                yield f"baton answer {session_id}{who} --stop"
        case "signal" | "timer" if wait.signal:
            yield f"baton signal {session_id} {shlex.quote(wait.signal)}"
        case _:
            return


def describe_wait(record: Record, now: int | None = None) -> str:
    """Return one line about what a session waits for."""
    wait = record.wait
    if wait is None:
        return "nothing"
    if record.answered:
        return f"{wait.kind}: answered, and on its way to a worker"
    until = f", {_until(wait, now)}" if wait.deadline_at else ""
    asked = describe_call(wait.call.tool, wait.call.args) if wait.call else ""
    match wait.kind:
        case "approval" if wait.hook:
            about = f" ({asked})" if asked else ""
            return f"an answer to hook {wait.hook}: {one_line(wait.prompt, 160)}{about}{until}"
        case "approval":
            return f"an approval of {asked}{until}"
        case "uncertain":
            return f"a person's word on {asked}: nobody knows whether it acted"
        case "input":
            return f"an answer to: {one_line(wait.prompt or wait.reason or 'its question', 160)}{until}"
        case "timer":
            return f"a timer{until}" + (f", or the signal {wait.signal!r}" if wait.signal else "")
        case "signal":
            return f"the signal {wait.signal!r}{until}"
        case "child":
            left = sum(1 for end in wait.children.values() if end is None)
            return f"{left} of {len(wait.children)} child sessions{until}" if wait.children else f"its schedule{until}"
        case "limit":
            return f"its turn to call a model{until}" + (f": {one_line(wait.reason, 120)}" if wait.reason else "")
        case "retry":
            return f"another try{until}" + (f": {one_line(wait.reason, 120)}" if wait.reason else "")


def describe_spent(spent: Spent) -> str:
    """Return what a session has used, in one line.

    >>> describe_spent(Spent(turns=2, tool_calls=1, input_tokens=900, output_tokens=100))
    '2 turns, 1 tool calls, 900 + 100 tokens'
    """
    cost = f", cost {spent.cost.normalize():f}" if spent.cost else ""
    return (
        f"{spent.turns} turns, {spent.tool_calls} tool calls, {spent.input_tokens} + {spent.output_tokens} tokens{cost}"
    )


def describe_failure(failure: FailureRecord) -> str:
    """Return how a try failed, in one line.

    >>> describe_failure(FailureRecord(error="RateLimitError", message="slow down", provider="p", retry_after=30))
    'RateLimitError of p, asks for 30 s: slow down'
    """
    who = "/".join(part for part in (failure.provider, failure.model) if part)
    about = failure.error + (f" of {who}" if who else "")
    about += f", status {failure.status_code}" if failure.status_code is not None else ""
    about += f", asks for {failure.retry_after:g} s" if failure.retry_after is not None else ""
    return one_line(f"{about}: {failure.message}", 400)


def describe_field(field: PromptField) -> str:
    """Return a field that a plugin asks for, as a person is shown it.

    >>> describe_field(PromptField(id="unit", type="choice", choices=("mm", "in"), required=False))
    'unit (one of mm, in; may be left out)'
    """
    about = f"one of {', '.join(field.choices)}" if field.type == "choice" else field.type
    if field.default is not None:
        about += f"; {field.default!r} if left out"
    elif not field.required:
        about += "; may be left out"
    return one_line(f"{field.id} ({about})" + (f": {field.label}" if field.label else ""), 300)


def describe_where(record: Record, now: int | None = None) -> str:
    """Return one line about what a session does now."""
    cursor = record.cursor
    match record.phase:
        case "ended":
            return "ended"
        case "dead":
            why = f" ({record.failure.error})" if record.failure is not None else ""
            return f"dead letter: {record.reason or 'no reason was kept'}{why}"
        case "waiting":
            return f"waits for {describe_wait(record, now)}"
        case "finalizing":
            return "comes to its end"
        case "ready":
            line = ", for a worker that takes plugins" if record.queue == "plugins" else ""
            return f"in line for {cursor.skill}, step {cursor.serial + 1}{line}"
        case "running":
            return f"in {cursor.skill}, step {cursor.serial + 1}"


def describe_entry(entry: Entry) -> str:
    """Return a journal entry as one line, without its number and time."""
    parts = [entry.step or entry.kind]
    if entry.skill:
        parts.append(f"in {entry.skill}")
    if entry.outcome and entry.outcome != "succeeded":
        parts.append(entry.outcome)
    if entry.attempt > 1:
        parts.append(f"(attempt {entry.attempt})")
    tails = [_describe_ended(call) for call in entry.calls]
    # The state's keys are values of the session; which of them a step changed is what a reader looks for first.
    if entry.state and entry.step is not None:
        tails.append(f"state: {', '.join(entry.state)}")
    if entry.step == "agent_turn" and entry.messages:
        tails.insert(0, _describe_turn(entry))
    tails += _describe_data(entry)
    line = " ".join(parts)
    return f"{line}: {'; '.join(tails)}" if tails else line


def describe_age(at: int, now: int | None = None) -> str:
    """Return how long ago something was.

    >>> describe_age(1000, 4000), describe_age(1000, 3_700_000)
    ('3s', '1h')
    """
    if not at:
        return "-"
    seconds = max((int(time.time() * 1000) if now is None else now) - at, 0) / 1000
    return describe_seconds(seconds)


def describe_seconds(seconds: float) -> str:
    """Return a duration in its largest unit.

    >>> [describe_seconds(s) for s in (0.2, 59, 90, 7300, 200_000)]
    ['0s', '59s', '1m', '2h', '2d']
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def clock(at: int) -> str:
    """Return the local time of day of the store's milliseconds."""
    return time.strftime("%H:%M:%S", time.localtime(at / 1000)) + f".{at % 1000:03d}"


def moment(at: int) -> str:
    """Return the local date and time of the store's milliseconds."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000)) if at else "-"


def _until(wait: Wait, now: int | None) -> str:
    left = ((wait.deadline_at or 0) - (int(time.time() * 1000) if now is None else now)) / 1000
    return f"{describe_seconds(left)} left" if left >= 1 else "due now"


def _describe_turn(entry: Entry) -> str:
    """Return what a model asked for, or said; and its tokens, where it counts any."""
    said = [Message.from_json(message) for message in entry.messages]
    asked = [call for message in said if message.role == "assistant" for call in message.tool_calls]
    words = [message.content for message in said if message.role == "assistant" and message.content]
    told = ", ".join(describe_call(call.tool, call.args, 60) for call in asked[:3])
    if len(asked) > 3:
        told += f" and {len(asked) - 3} more"
    parts = [f"asks for {told}"] if asked else [f'says "{one_line(words[-1], 100)}"'] if words else ["says nothing"]
    tokens = [
        f"{entry.data[name]} {name.split('_')[0]}" for name in ("input_tokens", "output_tokens") if entry.data.get(name)
    ]
    return parts[0] + (f" ({', '.join(tokens)} tokens)" if tokens else "")


def _describe_ended(call: ToolCall) -> str:
    by = f" by {clean(call.approver)}" if call.approver else ""
    return f"{describe_call(call.tool, call.args, 80)} {call.outcome}{by}"


def _describe_plugin(entry: Mapping[str, object], aborted: object) -> str:
    """Return how a plugin's run ended, and what it changed or why not."""
    files, error = entry.get("files_affected"), entry.get("error") or aborted
    count = len(files) if isinstance(files, list) else 0
    tail = f": {error}" if error else f", {count} file{'' if count == 1 else 's'}" if count else ""
    return one_line(f"{entry.get('plugin')} {entry.get('status')}{tail}", 200)


def _describe_event(event: Mapping[str, object]) -> str:
    """Return an event with what is counted in it."""
    counts = [f"{value} {name.replace('_', ' ')}" for name, value in event.items() if type(value) is int]
    return f"{event.get('event')} ({', '.join(counts)})" if counts else str(event.get("event"))


def describe_hook_reason(note: Mapping[str, object]) -> str:
    """Return why a hook did something, or what it changed or added; "" where its line says no more.

    >>> describe_hook_reason({"action": "modify", "before": "a", "after": "b"})
    '"a" became "b"'
    """
    if note.get("ignored"):
        return "no effect here"
    for name in ("reason", "error", "refused", "text", "prompt", "allowed", "answered"):
        if note.get(name):
            return one_line(str(note[name]), 200)
    if "before" in note and "after" in note:
        return f"{compact(note['before'], 80)} became {compact(note['after'], 80)}"
    if note.get("chars"):
        return f"{note['chars']} characters, as {note.get('role', 'system')}"
    return ""


def _describe_hook(note: Mapping[str, object]) -> str:
    """Return what a hook did, in one line.

    >>> _describe_hook({"event": "tool:pre", "hook": "guard", "action": "deny", "reason": "not that"})
    'hook guard at tool:pre: deny (not that)'
    """
    why = describe_hook_reason(note)
    return one_line(
        f"hook {note.get('hook')} at {note.get('event')}: {note.get('action')}" + (f" ({why})" if why else ""), 200
    )


def describe_grant(grant: Grant) -> str:
    """Return what a session need not ask again, in one line.

    >>> describe_grant(Grant(asked_by="gateway", tool="srv:close", digest="d", shown='{"n":1}', actor="ada"))
    'srv:close {"n":1}, asked by gateway, allowed by ada'
    """
    return one_line(f"{grant.tool} {grant.shown}, asked by {grant.asked_by}, allowed by {grant.actor}", 300)


def _describe_data(entry: Entry) -> Iterator[str]:
    """Yield what an entry says beside its step: each kind of it in its own words, the rest as it is."""
    left = {name: value for name, value in entry.data.items() if name not in _TOLD_ELSEWHERE}
    match left.get("budget"):
        case {"warning": dict(near)}:
            del left["budget"]
            yield from (
                f"nearly spent: {name.replace('_', ' ')}, {one.get('used')} of {one.get('limit')}"
                for name, one in near.items()
                if isinstance(one, dict)
            )
    match left:
        case {"post": dict(post)}:
            said = [str(post[name]) for name in ("verdict", "name", "team", "text") if post.get(name)]
            yield one_line(f"{post.get('kind', 'post')} {' '.join(said)} by {entry.actor}", 160)
        case {"status": status, "reason": reason}:
            rule = left.get("rule")
            yield f"{status or 'no status'}, by " + (f"rule {rule + 1}" if isinstance(rule, int) else str(reason))
        case {"error": error, "message": message}:
            yield one_line(f"{error}: {message} ({left.get('decision')})", 200)
        case {"reason": reason, "detail": str(detail)}:
            yield one_line(f"{reason}: {next(iter(detail.splitlines()), '')}", 200)
        case {"plugin": dict(run)}:
            yield _describe_plugin(run, left.get("aborted"))
        case {"event": "session:fork", "parent": parent, "at": at}:
            yield f"forked from {parent} after entry {at}" + (", with another state" if left.get("state") else "")
        case {"budget": {"spent": str(spent)}}:
            yield f"stopped, budget spent: {spent}"
        case {"wait": "limit", "why": why}:
            yield f"waits for its turn to call a model ({why})"
        case {"asks": plugin, "wait": _}:
            yield f"{plugin} asks"
        case {"events": list(events)}:
            yield from (_describe_event(one) for one in events if isinstance(one, dict))
        case {"wait": wait}:
            yield f"waits for {wait}"
        case {"refused": what, "why": why}:
            yield one_line(f"{what} {left.get('verdict', '')} of {entry.actor}: {why}", 160)
        case {"denied": event, "hook": hook, "reason": reason}:
            yield one_line(f"hook {hook or '-'} denies {event}: {reason}", 200)
        case {"announced": call_id}:
            yield f"announces {call_id}"
        case _ if left:
            yield compact(left, 200)
    told = entry.data.get("hooks")
    for note in told if isinstance(told, list) else ():
        if isinstance(note, dict):
            yield _describe_hook(note)
    notes = entry.data.get("posts")
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, dict):
            what = note.get("what")
            yield one_line(f"{what} by {note['actor']}" if note.get("actor") else f"{what} of {note.get('wait')}", 160)
