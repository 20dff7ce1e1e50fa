"""The state of the test app's sessions."""

from pydantic import BaseModel, ConfigDict, JsonValue


class State(BaseModel):
    """What a session may hold."""

    model_config = ConfigDict(extra="forbid")

    plan: JsonValue = "look"
    signal: str = "success"
    answer: JsonValue = None
    seen: list[int] = []
    total: int = 0
    items: list[JsonValue] = []
    item: JsonValue = None
    ends: dict[str, JsonValue] = {}
    ledger: str = ""
