"""What tools answer where it is not what the HTTP API answers: a submission with how it stands, a list that may be cut."""

from pydantic import BaseModel, Field

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.phases import Phase
from orchestrator.contracts.session import Record


class Submission(BaseModel):
    """A session that was submitted, and how it stands; as a task's result: how it ended."""

    session_id: str
    created: bool = Field(description="Whether this very request made it, rather than an earlier one with its key.")
    app: str
    phase: Phase
    status: str | None = Field(description="The app's word for how it ended.")
    fields: JsonObject = Field(description="What the app's rules took out of the deciding call.")
    reason: str


def submission(record: Record, *, created: bool) -> Submission:
    """Return a submission as its session stands."""
    return Submission(
        session_id=record.session_id,
        created=created,
        app=record.app,
        phase=record.phase,
        status=record.status or None,
        fields=record.fields,
        reason=record.reason,
    )
