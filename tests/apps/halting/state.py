"""The state of a session that is going to be cancelled."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class State(BaseModel):
    """What it is to do, and what it has seen."""

    model_config = ConfigDict(extra="forbid")

    plan: str = "none"
    seen: list[int] = []
    groups: list[str] = []
    items: list[str] = []
    item: Any = None
    ends: dict[str, Any] = {}
    answer: Any = None
