"""Functions of the compute steps."""

from collections.abc import Mapping


def flaky(state: Mapping[str, object]) -> dict[str, object]:
    """Fail in passing, always."""
    raise ConnectionResetError(f"the other side went away, with {len(state)} keys")
