"""The state, the step and the transforms of the app of triggers."""

from pydantic import BaseModel, ConfigDict, field_validator


class Defect(Exception):
    """An error of the app's own, which is no error that Python has."""


class State(BaseModel):
    """What its sessions hold."""

    model_config = ConfigDict(extra="forbid")

    level: int = 0


class Alert(BaseModel):
    """What a sender tells."""

    title: str
    level: int = 1

    @field_validator("title")
    @classmethod
    def _is_sound(cls, value: str) -> str:
        if value == "defect":
            raise Defect(value)
        return value


def read_alert(alert: Alert) -> dict[str, object]:
    """Make a request of an alert; refuse one that needs nobody."""
    if alert.level < 1:
        raise ValueError("level 0 needs nobody")
    return {"text": alert.title, "state": {"level": alert.level}}


def stumble(payload: object) -> object:
    """Fail in a way of one's own, or return what was given."""
    if payload == "fail":
        raise RuntimeError("a defect of the app")
    if payload == "defect":
        raise Defect("of its own class")
    return payload


def work(state: dict[str, object]) -> dict[str, object]:
    """Do nothing."""
    return {}
