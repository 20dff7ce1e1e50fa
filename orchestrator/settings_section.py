"""The ground of every section of settings: how one is checked, and the units that fields share."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo

from orchestrator.contracts.base import Frozen

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Url = Annotated[str, Field(max_length=2_000, repr=False)]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

KIB = 1024
MIB = 1024 * KIB


class Section(Frozen):
    """One section; its defaults are checked like what is written, so that sections hold together."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def check_url(url: str) -> str:
    """Return a URL, or nothing where none is set; raise ValueError for what is none."""
    if url and "://" not in url:
        raise ValueError("not a URL; write e.g. redis://host:6379/0, or leave it empty")
    return url


def at_least(value: float, info: ValidationInfo, other: str, section: str) -> float:
    """Return a value that is not below another field of its section; raise ValueError."""
    least = info.data.get(other, 0)
    if value < least:
        raise ValueError(f"{value:g} is less than {section}.{other} ({least:g}); raise it, or lower that")
    return value
