"""A session's journal as people read it: steps with their times, calls, runs of plugins, what was decided and by whom, children.

Pure: entries in, rows out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.budgets import BudgetSpec, SessionBudget
from orchestrator.contracts.session import SUCCESSFUL, Entry, Record, ToolCall
from orchestrator.interfaces.cli.wording import describe_entry, describe_hook_reason
from orchestrator.interfaces.console.charts import bar

#: Outcomes of a call that somebody decided or was told of.
_DECIDED = frozenset({"executed_with_notify", "approved", "rejected", "timeout"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the timeline: the entry, what it says, its place on the time axis, and how long came nothing after it (ms)."""

    entry: Entry
    name: str
    told: str
    bar: Markup
    gap_bar: Markup
    gap_ms: int

    @property
    def can_fork(self) -> bool:
        """Whether there was something left to do after it."""
        return self.entry.step != "finalize" and self.entry.kind != "buried"


@dataclass(frozen=True, slots=True)
class Made:
    """One tool call that came to its end, and where in the journal."""

    seq: int
    at: int
    ms: float
    call: ToolCall

    @property
    def is_good(self) -> bool:
        """Whether it acted."""
        return self.call.outcome in SUCCESSFUL


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that a person, a policy, a gate, a hook or a limit decided or asked."""

    seq: int
    at: int
    what: str
    word: str
    who: str
    about: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a plugin: its result entry, what it changed (path, kind, summary), what it said."""

    seq: int
    at: int
    skill: str
    entry: JsonObject
    isolation: JsonObject
    changes: tuple[JsonObject, ...]
    logs: tuple[JsonObject, ...]
    aborted: str


def list_rows(entries: Sequence[Entry], now: int, *, is_over: bool) -> list[Row]:
    """Return the timeline; it ends now, or with the last entry of a session that is over."""
    if not entries:
        return []
    first = entries[0].at - int(entries[0].ms)
    last = max(entries[-1].at if is_over else now, first + 1)

    def share(at: float) -> float:
        return (at - first) / (last - first)

    rows = []
    for index, entry in enumerate(entries):
        following = entries[index + 1] if index + 1 < len(entries) else None
        until = now if following is None else following.at - int(following.ms)
        waits = entry.outcome in {"suspended", "snoozed"} and not (following is None and is_over)
        gap = max(until - entry.at, 0) if waits else 0
        kind = "failed" if entry.outcome in {"failed", "orphaned"} else entry.step or entry.kind
        rows.append(
            Row(
                entry=entry,
                name=entry.step or entry.kind,
                told=describe_entry(entry).partition(": ")[2],
                bar=bar(share(entry.at - entry.ms), share(entry.at), f"b-{kind}"),
                gap_bar=bar(share(entry.at), share(entry.at + gap), "b-gap") if gap else Markup(""),
                gap_ms=gap,
            )
        )
    return rows


def list_calls(entries: Sequence[Entry]) -> list[Made]:
    """Return every tool call that came to its end."""
    return [Made(entry.seq, entry.at, entry.ms, call) for entry in entries for call in entry.calls]


def list_runs(entries: Sequence[Entry]) -> list[Run]:
    """Return every run of a plugin."""
    return [
        Run(
            seq=entry.seq,
            at=entry.at,
            skill=entry.skill,
            entry=told,
            isolation=_object(told.get("isolation")),
            changes=_objects(entry.data.get("changes")),
            logs=_objects(entry.data.get("logs")),
            aborted=str(entry.data.get("aborted") or ""),
        )
        for entry in entries
        if (told := _object(entry.data.get("plugin")))
    ]


def list_decisions(entries: Sequence[Entry]) -> list[Decision]:
    """Return what was asked, answered, allowed, refused, gated or changed by hooks."""
    return [
        Decision(entry.seq, entry.at, what, word, who, about)
        for entry in entries
        for what, word, who, about in _decided(entry)
    ]


def _decided(entry: Entry) -> Iterator[tuple[str, str, str, str]]:
    """Yield what, in which word, by whom, about what."""
    data = entry.data
    told = _objects(data.get("hooks"))
    for hook in told:
        yield (
            f"hook {hook.get('event', '')}",
            str(hook.get("action", "")),
            str(hook.get("hook", "")),
            describe_hook_reason(hook),
        )
    if data.get("denied") and not any(hook.get("action") == "deny" for hook in told):
        yield f"hook {data['denied']}", "deny", str(data.get("hook", "")), str(data.get("reason", ""))
    if data.get("refused"):
        yield "refused", str(data.get("verdict") or data["refused"]), entry.actor, str(data.get("why", ""))
    yield from _bounded(entry)
    post = _object(data.get("post"))
    if post:
        about = str(post.get("text") or post.get("name") or post.get("team") or "")
        if post.get("kind") != "child_ended":
            yield "post", str(post.get("verdict") or post.get("kind")), entry.actor, about
    for note in _objects(data.get("posts")):
        yield "taken", str(note.get("what", "")), str(note.get("actor", "")), str(note.get("wait", ""))
    if entry.outcome == "suspended" and data.get("wait") in {"approval", "input", "uncertain"} and not data.get("hook"):
        yield "asks", str(data["wait"]), entry.skill, str(data.get("call") or data.get("asks") or "")
    for call in entry.calls:
        if call.outcome in _DECIDED:
            risk = f"risk {call.risk}" if call.risk else "call"
            yield risk, call.outcome, call.approver or "policy", f"{call.tool} {call.rationale or ''}".strip()
    if entry.step == "finalize" and "status" in data:
        rule = data.get("rule")
        by = f"rule {rule + 1}" if isinstance(rule, int) else str(data.get("reason", ""))
        yield (
            "settled",
            str(data.get("status") or "no status"),
            by,
            str(data.get("tool") or data.get("stop_reason") or ""),
        )


def _bounded(entry: Entry) -> Iterator[tuple[str, str, str, str]]:
    """Yield what limits did: a budget that is nearly or wholly spent, a model that may not be called yet, a context cut short."""
    data = entry.data
    budget = _object(data.get("budget"))
    if budget.get("spent"):
        yield "budget", "spent", entry.skill, str(budget["spent"])
    for name, one in _object(budget.get("warning")).items():
        about = _object(one)
        yield "budget", "nearly spent", entry.skill, f"{name}: {about.get('used')} of {about.get('limit')}"
    if data.get("wait") == "limit":
        yield "limit", "waits", entry.skill, str(data.get("why", ""))
    if entry.step == "compact":
        yield "context", "compacted", str(data.get("manager", "")), str(data.get("why", ""))
    for one in _objects(data.get("events")):
        if entry.step != "compact":
            yield "event", str(one.get("event", "")), entry.skill, ""


def list_children(entries: Sequence[Entry], record: Record) -> dict[str, JsonObject | None]:
    """Return the children that a session waited for, each with how it ended, None while it runs or is not known."""
    found: dict[str, JsonObject | None] = {}
    for entry in entries:
        wait = entry.set.get("wait")
        told = _object(load_json(wait)) if wait else {}
        children = told.get("children")
        if isinstance(children, dict):
            found.update({name: _object(end) or None for name, end in children.items()})
    if record.wait is not None:
        found.update(record.wait.children)
    return found


def list_used(record: Record, budget: BudgetSpec | None) -> list[tuple[str, str, str]]:
    """Return what a session has used of what its app's budget counts: the name, how much, and of how much ("": no limit)."""
    if record.spent is None:
        return []
    spent, most = record.spent, budget.session if budget is not None else SessionBudget()
    rows: list[tuple[str, object, object]] = [
        ("turns", spent.turns, most.turns),
        ("tool calls", spent.tool_calls, most.tool_calls),
        ("tokens", spent.tokens, most.tokens),
        ("cost", f"{spent.cost.normalize():f}", None if most.cost is None else f"{most.cost.normalize():f}"),
    ]
    return [(name, str(used), "" if limit is None else str(limit)) for name, used, limit in rows]


def why_it_ended(entries: Sequence[Entry], record: Record) -> Mapping[str, JsonValue]:
    """Return what the finaliser or the grave said, {} while the session lives."""
    if record.phase not in {"ended", "dead"}:
        return {}
    for entry in reversed(entries):
        if entry.step == "finalize" or entry.kind == "buried":
            return {"at": entry.at, "seq": entry.seq, **entry.data}
    return {}


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> tuple[JsonObject, ...]:
    return tuple(one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()
