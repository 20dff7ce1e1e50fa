"""What responses look like: the shapes of the OpenAPI description. Those of requests are in `bodies`.

Sessions, waits and entries are those that `baton … -o json` prints; times are ISO 8601 in UTC. A field is added here,
never renamed.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.contracts.phases import Phase
from orchestrator.contracts.session import Priority, WaitKind
from orchestrator.scaling import Pool


class Created(BaseModel):
    """A submission's answer."""

    session_id: str
    created: bool = Field(description="Whether this very request made it.")


class Forked(Created):
    """A fork: what it was forked from, after which entry, where it goes on, and with which version of its app."""

    parent: str
    forked_at: int
    skill: str
    spec: str


class Verified(BaseModel):
    """What a rebuild found; `differences` has a line for each part that is not what the journal says."""

    session_id: str
    ok: bool
    entries: int
    differences: list[str]


class Done(BaseModel):
    """A change that was made, or was there already."""

    changed: bool


class SessionLine(BaseModel):
    """A session in a list."""

    session_id: str
    app: str
    phase: Phase
    status: str | None
    skill: str
    waits_for: WaitKind | None
    priority: Priority
    text: str
    parent: str | None
    actor: str
    reason: str
    created_at: str | None
    since_at: str | None
    updated_at: str | None


class Wait(BaseModel):
    """What a session waits for."""

    model_config = ConfigDict(extra="allow")

    wait_id: str
    kind: WaitKind
    since_at: str | None
    deadline_at: str | None
    prompt: str
    options: list[str]
    roster: list[str]
    teams: list[str]
    call: dict[str, Any] | None
    answered: bool


class Session(SessionLine):
    """A session, whole."""

    model_config = ConfigDict(extra="allow")

    spec: str
    queue: str
    forked_at: int | None = Field(description="After which entry of its parent's journal it was forked.")
    cursor: dict[str, Any]
    wait: Wait | None
    always_allowed: list[dict[str, Any]] = Field(description="Calls that it does not ask about again, and who said so.")
    compacted: dict[str, Any] | None = Field(description="How far its models see a summary in place of messages.")
    spent: dict[str, Any] | None = Field(description="What it has used, where its app has a budget.")
    cancel: str | None
    cancel_immediate: bool
    state: dict[str, Any]
    fields: dict[str, Any]
    entries: int


class Unread(BaseModel):
    """A session that belongs to a list and that this version cannot read: of a newer one (`detail` says so), or damaged."""

    session_id: str
    app: str
    phase: Phase
    since_at: str | None
    detail: str


class Page(BaseModel):
    """What lists share."""

    unreadable: list[Unread] = Field(
        default=[],
        description="Sessions between these that this version cannot read; of a list with `actor`, `parent` or `q`, nobody knows whether they fit.",
    )
    next_cursor: str | None


class Sessions(Page):
    """A page of sessions, newest first."""

    sessions: list[SessionLine]


class Waiting(SessionLine):
    """A session that waits for a person."""

    wait: Wait | None


class Approvals(Page):
    """A page of what waits for people, newest first."""

    approvals: list[Waiting]


class Entry(BaseModel):
    """A journal entry."""

    model_config = ConfigDict(extra="allow")

    seq: int
    at: str | None
    kind: str
    actor: str
    step: str | None
    outcome: str | None


class Journal(BaseModel):
    """A page of a journal, oldest first; `next_after` is where the next one begins."""

    entries: list[Entry]
    next_after: int | None


class Messages(BaseModel):
    """What a session's models see."""

    messages: list[dict[str, Any]]


class DeadLetter(BaseModel):
    """A dead letter."""

    session_id: str
    app: str
    skill: str
    reason: str
    detail: str
    attempts: int
    since_at: str | None


class DeadLetters(Page):
    """A page of dead letters, newest first."""

    dead_letters: list[DeadLetter]


class Replayed(BaseModel):
    """Which dead letters were (or, in a dry run, would be) sent again."""

    session_ids: list[str]
    dry_run: bool


class Queue(BaseModel):
    """A queue's line."""

    queue: str
    in_line: int
    oldest_seconds: float | None
    running: int
    slots: int
    workers: int
    paused: bool


class Pause(BaseModel):
    """What an operator has paused: `queue:NAME` or `app:NAME`."""

    target: str
    at: str | None
    actor: str
    reason: str


class Queues(BaseModel):
    """Every queue, and what is paused."""

    queues: list[Queue]
    pauses: list[Pause]


class Scale(BaseModel):
    """How many workers a pool wants, and why; `load` is (in line, but for what is held, + running) / slots of one worker."""

    pool: Pool
    desired_workers: int
    workers: int
    load: float
    in_line: int
    running: int
    oldest_seconds: float
    paused: bool
    reasons: list[str]
    reason: str = Field(description="The reasons in one line.")


class App(BaseModel):
    """An app that is loaded here, with its sessions by phase."""

    model_config = ConfigDict(extra="allow")

    app: str
    version: str
    description: str
    prefix: str
    digest: str
    paused: bool
    sessions: dict[str, int]


class Apps(BaseModel):
    """Every app that is loaded here."""

    apps: list[App]


class Worker(BaseModel):
    """A living process."""

    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    running: int
    slots: int
    draining: bool


class Workers(BaseModel):
    """Who is at work."""

    workers: list[Worker]


class Trigger(BaseModel):
    """A trigger of a loaded app."""

    name: str
    app: str
    kind: Literal["webhook", "schedule"]
    auth: str | None
    schedule: str | None
    timezone: str | None


class Triggers(BaseModel):
    """Every trigger of the loaded apps."""

    triggers: list[Trigger]


class Webhook(BaseModel):
    """An endpoint that is told of sessions."""

    name: str
    url: str
    events: list[str]
    apps: list[str]
    switched_off: str | None = Field(description="Why nothing is sent to it.")


class Webhooks(BaseModel):
    """Every endpoint, and how many deliveries are on their way."""

    webhooks: list[Webhook]
    pending: int


class Undelivered(BaseModel):
    """A delivery that was given up."""

    delivery_id: str
    endpoint: str
    event: str
    session_id: str
    at: str | None
    attempts: int
    last_error: str


class UndeliveredList(BaseModel):
    """Deliveries that were given up, newest first."""

    undelivered: list[Undelivered]


class Redelivered(BaseModel):
    """Which deliveries are sent again."""

    delivery_ids: list[str]


class Act(BaseModel):
    """A line of the operators' log."""

    at: str | None
    actor: str
    act: str
    target: str
    data: dict[str, Any]


class Audit(BaseModel):
    """A page of the operators' log, newest first."""

    acts: list[Act]
    next_cursor: str | None


class Me(BaseModel):
    """Who asks, as the API sees it."""

    name: str
    roles: list[str]
    way: str


class Health(BaseModel):
    """How the process is."""

    status: str
    version: str
