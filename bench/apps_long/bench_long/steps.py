"""The function of the loop: count, and stop where it was told to."""

from typing import Any

State = dict[str, Any]


def count(state: State) -> State:
    """Do nothing but count."""
    n = state.get("n", 0) + 1
    return {"n": n, "signal": "again" if n < state.get("of", 1) else "success"}
