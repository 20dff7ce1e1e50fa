"""A run of a bench takes a minute of a whole machine: only who asks for it (`-m bench`) gets it."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs a bench, unless marks are chosen explicitly."""
    if config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("bench") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
