"""The state, the step and the transforms of the app of triggers."""

from pydantic import BaseModel, ConfigDict


class State(BaseModel):
    """What its sessions hold."""

    model_config = ConfigDict(extra="forbid")

    level: int = 0


class Alert(BaseModel):
    """What a sender tells."""

    title: str
    level: int = 1


def read_alert(alert: Alert) -> dict[str, object]:
    """Make a request of an alert; refuse one that needs nobody."""
    if alert.level < 1:
        raise ValueError("level 0 needs nobody")
    return {"text": alert.title, "state": {"level": alert.level}}


def stumble(payload: object) -> object:
    """Fail in a way of one's own, or return what was given."""
    if payload == "fail":
        raise RuntimeError("a defect of the app")
    return payload


def work(state: dict[str, object]) -> dict[str, object]:
    """Do nothing."""
    return {}
