"""What the model of the test asks for, turn by turn."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class State(BaseModel):
    """`calls` has one mapping a turn: the tool's name to the values of its argument."""

    model_config = ConfigDict(extra="forbid")

    calls: list[dict[str, list[Any]]] = []
    seen: list[Any] = []
    ends: dict[str, Any] = {}
    word: str = "done"
