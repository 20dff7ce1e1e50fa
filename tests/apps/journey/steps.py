"""The step that fails."""

from collections.abc import Mapping


def broken(state: Mapping[str, object]) -> dict[str, object]:
    """Fail for good."""
    raise ZeroDivisionError(f"nothing to divide in {len(state)} keys")
