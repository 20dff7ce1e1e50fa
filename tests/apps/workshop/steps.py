"""Where a pass went: one function for each way out."""

from typing import Any


def well(state: dict[str, Any]) -> dict[str, Any]:
    """No plugin failed."""
    return {"went": "well"}


def badly(state: dict[str, Any]) -> dict[str, Any]:
    """Some plugin failed."""
    return {"went": "badly"}


def refused(state: dict[str, Any]) -> dict[str, Any]:
    """A question was not answered."""
    return {"went": "refused"}
