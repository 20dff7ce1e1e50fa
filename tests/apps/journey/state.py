"""The state of the journey's sessions."""

from pydantic import BaseModel, ConfigDict


class State(BaseModel):
    """What a session may hold."""

    model_config = ConfigDict(extra="forbid")

    plan: str = "plain"
    answer: str = "none"
    total: int = 0
