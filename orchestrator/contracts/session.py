"""A session as it is stored: record, cursor, wait, tool calls, posts.

Everything that decides what a session does next is in these values, so that any worker can go
on where another stopped. Times are the store's milliseconds.
"""

from hashlib import sha256
from typing import Literal, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.app import Effect, Risk
from orchestrator.contracts.base import Frozen, JsonObject, dump_json
from orchestrator.contracts.budgets import Spent
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.hook_result import ApprovalDefault
from orchestrator.contracts.hooks import HookMemory
from orchestrator.contracts.phases import Phase
from orchestrator.contracts.plugins import PassPlace, PromptField, Queue
from orchestrator.contracts.tool_questions import ToolQuestion

Outcome: TypeAlias = Literal["succeeded", "failed", "suspended", "snoozed", "cancelled", "orphaned"]
StepKind: TypeAlias = Literal[
    "agent_turn", "compact", "tool_calls", "route", "dispatch", "compute", "plugin_pass", "wait", "finalize"
]
ToolOutcome: TypeAlias = Literal[
    "executed", "executed_with_notify", "approved", "failed", "rejected", "timeout", "cancelled"
]
WaitKind: TypeAlias = Literal["approval", "input", "timer", "signal", "uncertain", "child", "retry", "limit"]
PostKind: TypeAlias = Literal["decision", "input", "cancel", "signal", "escalate", "child_ended"]
Priority: TypeAlias = Literal["high", "normal", "low"]

#: Outcomes that count for terminal rules: the tool acted, whoever had to be asked or told.
SUCCESSFUL: frozenset[ToolOutcome] = frozenset({"executed", "executed_with_notify", "approved"})

#: Waits that a person ends; they are listed and counted apart.
ASKING: frozenset[WaitKind] = frozenset({"approval", "input", "uncertain"})


def args_digest(tool: str, args: JsonObject) -> str:
    """Name exactly these arguments of exactly this tool: what an approval is bound to."""
    return sha256(f"{tool}\n{dump_json(dict(sorted(args.items())))}".encode()).hexdigest()[:16]


class ToolCall(Frozen):
    """A tool call that came to its end, as the finaliser and people read it."""

    call_id: str
    tool: str
    args: JsonObject = {}
    result: JsonValue = None
    outcome: ToolOutcome
    skill: str = ""
    risk: Risk | None = None
    approver: str | None = None
    rationale: str | None = None


class PendingCall(Frozen):
    """A tool call on its way: asked for, perhaps approved, not yet done.

    `key` is the idempotency key: the same for every attempt of this very call. `verdict` is what an
    approver said, `resolution` what a person said of a call whose outcome was unknown. `hooked`: the hooks
    before it were called; `done` is how it ended, while what hooks say to that is not known yet. `asked` is what its tool
    asked a person before it would act.
    """

    call_id: str
    tool: str
    args: JsonObject = {}
    key: str = ""
    effect: Effect = "effectful"
    risk: Risk | None = None
    action: Literal["auto", "notify", "approve"] = "auto"
    verdict: Literal["approved", "rejected", "timeout"] | None = None
    resolution: Literal["retry", "happened", "failed"] | None = None
    approver: str | None = None
    rationale: str | None = None
    hooked: bool = False
    done: ToolCall | None = None
    asked: ToolQuestion | None = None


class Wait(Frozen):
    """What a session waits for, who may answer, and until when.

    `deadline_at` is when the wait ends by itself. For an approval or an uncertain call, `call` is
    the call in question and `digest` what the answer is bound to. For children, `children` maps
    each child's id to how it ended, None while it runs. For a plugin's question, or a tool's (which
    has a `call`), `prompt_id` names it and `fields` say what may be answered. For a hook's question,
    `hook` is who asks and `default` what silence means. A `limit` is a model call that may not go
    yet; `target` is the service where it has its place. `trace` is the traceparent of the step that asks.
    """

    wait_id: str
    kind: WaitKind
    since_at: int = 0
    deadline_at: int | None = None
    prompt: str = ""
    options: tuple[str, ...] = ()
    roster: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    call: PendingCall | None = None
    digest: str = ""
    signal: str | None = None
    into: str | None = None
    target: str | None = None
    gate: bool = False
    join: Literal["all", "any"] = "all"
    children: dict[str, JsonObject | None] = {}
    reason: str = ""
    prompt_id: str = ""
    fields: tuple[PromptField, ...] = ()
    trace: str = ""
    hook: str = ""
    default: ApprovalDefault = "deny"


class Cursor(Frozen):
    """Where a session is in its app's skills.

    `stage` says what the next step is: enter a skill, call its model, do the tool calls that it
    asked for, leave by a route, or come to the end. `serial` counts steps and makes call ids;
    `failures` counts tries of the current step; `signals` came before anybody waited for them;
    `place` is where a plugin pass is, None outside of one. `admitted` names the model service whose rate has a place
    for the next call; `held_at` is since when (ms) that call may not be made, because its services are left alone.
    """

    skill: str
    stage: Literal["enter", "model", "tools", "route", "end"] = "enter"
    serial: int = 0
    turn: int = 0
    depth: int = 0
    calls: tuple[PendingCall, ...] = ()
    confidence: float | None = None
    rationale: str | None = None
    signal: str | None = None
    locked: bool = False
    failures: int = 0
    signals: tuple[str, ...] = ()
    stop: Literal["cancelled", "stopped", "escalated", "over_budget"] | None = None
    stop_reason: str = ""
    place: PassPlace | None = None
    admitted: str | None = None
    held_at: int | None = None


class Record(Frozen):
    """The session record: one Redis hash. Fields with defaults are stored only once they differ.

    `parent` is the session that submitted it as its child or, with `forked_at`, the one that it was forked from, at that
    entry of its journal; `level` is how many sessions it stands below. `queue` says which workers can take its next
    step. `failure` is how the last try of the current step failed; it goes once the step is done, and stays with a dead
    letter until that is sent again. `cancel` is why it was asked to stop, `cancel_immediate` whether without waiting for
    what runs. `hooks` is what is kept for hooks, None for a session that needs nothing of it; `spent` is what it has
    used, where its app has a budget. `trace` is the
    traceparent that its steps are below.
    """

    session_id: str
    app: str
    spec: str
    phase: Phase
    status: str | None = None
    rev: int = 0
    fence: int = 0
    holder: str = ""
    attempts: int = 0
    seq: int = 0
    priority: Priority = "normal"
    queue: Queue = "steps"
    created_at: int = 0
    since_at: int = 0
    updated_at: int = 0
    actor: str = ""
    text: str = ""
    parent: str | None = None
    forked_at: int = 0
    level: int = 0
    cursor: Cursor
    state: JsonObject = {}
    wait: Wait | None = None
    answered: bool = False
    cancel: str | None = None
    cancel_immediate: bool = False
    terminal_call: ToolCall | None = None
    fields: JsonObject = {}
    reason: str = ""
    catalogue: str = ""
    failure: FailureRecord | None = None
    compacted: Compacted | None = None
    hooks: HookMemory | None = None
    spent: Spent | None = None
    replays: int = 0
    trace: str = ""


class Post(Frozen):
    """A message to a session. `post_id` makes a repeated post harmless.

    decision: `wait_id`, `verdict` and `digest` · input: `wait_id`, `text` or `value` · signal:
    `name`, `value` · escalate: `team` · cancel: `text` is why, `immediate` that nothing is waited for · child_ended:
    `name` is the child, `value` how it ended.
    """

    post_id: str
    kind: PostKind
    actor: str
    at: int = 0
    wait_id: str | None = None
    verdict: str | None = None
    digest: str = ""
    text: str = ""
    name: str = ""
    team: str | None = None
    value: JsonValue = None
    trace: str = ""
    immediate: bool = False


class Entry(Frozen):
    """One journal entry. `seq` has no gaps. `set` and `state` rebuild the record.

    `set` holds record fields as stored, `state` the changed top-level keys, `dropped` the removed
    ones. `messages` are the context's new entries, `calls` the tool calls that ended, `taken` how
    many posts left the mailbox, `ms` how long the step took.
    """

    kind: str
    actor: str
    seq: int = 0
    at: int = 0
    step: StepKind | None = None
    skill: str = ""
    outcome: Outcome | None = None
    attempt: int = 0
    fence: int = 0
    set: dict[str, str] = {}
    state: JsonObject = {}
    dropped: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    taken: int = 0
    ms: float = 0.0
    data: JsonObject = {}


class InLine(Frozen):
    """A session in line for a wake-up; rank 0 is the highest priority, `bucket` ready, plugins or finalizing.

    Rank -1 is what was asked to stop. In the bucket `plugins` is what is ready and needs a worker with a sandbox.
    """

    session_id: str
    app: str
    bucket: str
    rank: int
    since_at: int
