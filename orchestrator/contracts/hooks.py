"""Hooks of durable sessions: what an app declares of one, and what a session keeps between two steps.

A session keeps only what the next step, on whatever worker, cannot do without: which points of an interrupted step are
behind it, the question that is open, texts that wait for their place, and what was allowed for good. All of it is one
field of the record, absent for a session that has none of it. Who calls a hook is not decided here.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.hook_result import InjectionRole
from orchestrator.contracts.messages import Message

#: How a person, or the time, answered a hook's question.
QuestionVerdict: TypeAlias = Literal["allowed", "denied", "expired"]

#: Texts that one session may keep for a model call that has not come yet, and grants that it may remember.
MOST_KEPT_TEXTS = 32
MOST_GRANTS = 64


class HookSpec(Frozen):
    """One function of the app that listens to one event.

    It is called with `(event, data)` and answers with None or a mapping of HookResult's fields. Lower priorities run
    first, equal ones in the order in which they are declared.
    """

    call: str = Field(
        description="The function: `file.py:name` of the app, or `package.module:name`; it takes the event's name and data.",
        examples=["policy.py:guard"],
    )
    event: str = Field(description="The event that it listens to.", examples=["tool:pre"])
    name: Annotated[str, Field(max_length=64)] = Field(
        default="", description="What the journal calls it; the function's name if left out."
    )
    priority: int = Field(default=0, description="Lower runs first; negative numbers are fine.")
    critical: bool = Field(
        default=False,
        description="Whether what it guards is denied when it raises or takes too long; otherwise it is passed over.",
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        default=10.0, description="How long one call of it may take."
    )
    approvers: tuple[str, ...] = Field(
        default=(), description="Who may answer its questions; empty: the approvers of `gateway`."
    )

    @property
    def label(self) -> str:
        """What people read of it."""
        return self.name or self.call.replace(":", ".").rpartition(".")[2]


class HookLimits(Frozen):
    """What the texts of hooks may come to; null is no limit, 0 allows nothing."""

    injection_size_limit: Annotated[int, Field(ge=0)] | None = Field(
        default=10_240, description="Code points of one text that a hook shows to the model; a longer one is refused."
    )
    injection_budget_per_turn: Annotated[int, Field(ge=0)] | None = Field(
        default=10_000, description="Tokens of a turn's texts after which the journal has a warning."
    )


class Ephemeral(Frozen):
    """A text for exactly the next model call; with `append` at the end of the last tool result."""

    role: InjectionRole = "system"
    content: str
    append: bool = False


class Grant(Frozen):
    """A call that a person has allowed for good: this tool with exactly these arguments, asked for by this asker.

    `asked_by` is `gateway` or `hook:NAME@EVENT`; `digest` names tool and arguments, without a call's own idempotency key;
    `risk` is how the call was rated when it was shown. `shown` is what people read of the arguments.
    """

    asked_by: str
    tool: str
    digest: str
    risk: str | None = None
    shown: str = ""
    actor: str
    at: int = 0


class Asked(Frozen):
    """A hook's question: at which point of the step, by whom, and what goes on if it is allowed.

    `value` is what a hook before it put in place of the event's subject, where `is_changed`.
    """

    point: str
    event: str
    hook: str
    prompt: str = ""
    is_changed: bool = False
    value: JsonValue = None
    verdict: QuestionVerdict | None = None
    actor: str = ""
    rationale: str = ""


class HookMemory(Frozen):
    """What a session keeps for its hooks.

    `started`: session:start was told. `running`: execution:start was told, and execution:end not yet. `spent` are the
    turn's tokens of injected texts. `passed` are points of the step that was interrupted, which it does not come to
    again; `kept` is what that step has made already. `pending` are messages that wait until no tool call is open,
    `rewritten` gives the texts of prompts that a hook changed by their place in the context.
    """

    started: bool = False
    running: bool = False
    spent: int = 0
    passed: tuple[str, ...] = ()
    kept: JsonObject = {}
    asked: Asked | None = None
    pending: tuple[Message, ...] = ()
    ephemeral: tuple[Ephemeral, ...] = ()
    rewritten: dict[str, str] = {}
    grants: tuple[Grant, ...] = ()


#: The memory of a session that has none.
NO_MEMORY = HookMemory()


def memory_of(hooks: HookMemory | None) -> HookMemory:
    """Return what a record keeps, or the empty memory."""
    return NO_MEMORY if hooks is None else hooks
