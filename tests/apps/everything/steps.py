"""Functions of the compute steps."""

import os
from collections.abc import Mapping
from pathlib import Path


def double(state: Mapping[str, int]) -> dict[str, object]:
    """Change the state and choose a route."""
    return {"total": state["total"] * 2 + 1, "signal": "one"}


def broken(state: Mapping[str, object]) -> dict[str, object]:
    """Fail for good."""
    raise ZeroDivisionError(f"nothing to divide in {len(state)} keys")


def flaky(state: Mapping[str, object]) -> dict[str, object]:
    """Fail in passing until the second time."""
    path = Path(str(state["ledger"]))
    if not path.exists():
        path.write_text(str(os.getpid()))
        raise ConnectionResetError("the other side went away")
    return {"total": 5}


def leaf(state: Mapping[str, object]) -> dict[str, object]:
    """End at once, or fail for the item that says so."""
    if state["item"] == "bad":
        raise ZeroDivisionError("a bad item")
    return {"total": 1, "signal": "two"}


def shorten(left_out: Mapping[str, object]) -> str:
    """Say how much was left out, after what was said before."""
    messages = left_out["messages"]
    assert isinstance(messages, list)
    return f"shortened {len(messages)} messages {left_out['words']}"
