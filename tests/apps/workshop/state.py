"""The state of the workshop's sessions."""

from pydantic import BaseModel, ConfigDict, JsonValue


class State(BaseModel):
    """What a session may hold."""

    model_config = ConfigDict(extra="forbid")

    folder: str = ""
    word: str = "hello"
    names: list[str] = ["*.txt"]
    entries: list[dict[str, JsonValue]] = []
    went: str = ""
