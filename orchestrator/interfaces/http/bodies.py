"""What requests hold: the bodies of the OpenAPI description. A field that nobody declared is refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from orchestrator.contracts.session import Priority

Text = str  # how long one may be is the store's to say, and over it a body is too large
Reason = Annotated[str, Field(max_length=2_000)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """A request: a field that nobody declared is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SubmitBody(Body):
    """A session to submit."""

    app: Word
    text: Text = ""
    state: dict[str, JsonValue] = {}
    priority: Priority = "normal"
    skill: Word | None = None


class ForkBody(Body):
    """Where a fork begins, and what it has otherwise than its origin."""

    at: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        default=None, description="After this journal entry; left out: where the session last had something to do."
    )
    state: dict[str, JsonValue] | None = Field(
        default=None, description="Top-level keys of the state, in place of those that it had."
    )
    version: Word | None = Field(
        default=None, description="Of its app: a digest or its beginning, or `current`; left out: the origin's own."
    )


class DecisionBody(Body):
    """An approval or a denial of the call that a wait shows."""

    decision: Literal["approve", "deny"]
    wait_id: Word = Field(description="The wait that was looked at: another one is not answered by it.")
    reason: Reason = ""
    always: bool = Field(
        default=False,
        description="With approve: this session does not ask again about the same tool with the same arguments.",
    )


class AnswerBody(Body):
    """An answer: to a question a text or a value, to a plugin its fields, to an uncertain call a verdict."""

    wait_id: Word | None = Field(default=None, description="The wait that was looked at.")
    text: Text = ""
    value: JsonValue = None
    fields: dict[str, str] | None = None
    verdict: Word | None = None


class ResumeBody(Body):
    """What is done with a session that a gate has stopped."""

    wait_id: Word | None = Field(default=None, description="The wait that was looked at.")
    action: Literal["resume_with_input", "escalate", "stop"]
    text: Text = ""
    team: Word | None = None


class SignalBody(Body):
    """A named signal."""

    name: Word
    value: JsonValue = None


class CancelBody(Body):
    """Why a session shall stop, and whether it waits for the calls that run."""

    reason: Reason = ""
    immediate: bool = Field(default=False, description="Calls that run are left, and count as cancelled.")


class NoteBody(Body):
    """A note for the journal."""

    note: Reason = ""


class PauseBody(Body):
    """Why something is paused."""

    reason: Reason = ""


class ReplayBody(Body):
    """Which dead letters: by id, or all of a reason, an app, or all there are."""

    session_ids: Annotated[list[Word], Field(max_length=1_000)] = []
    everything: bool = Field(default=False, alias="all")
    reason: Word | None = None
    app: Word | None = None
    dry_run: bool = False
    note: Reason = ""


class RedeliverBody(Body):
    """Which deliveries; none named: all that were given up."""

    delivery_ids: Annotated[list[Word], Field(max_length=1_000)] = []
