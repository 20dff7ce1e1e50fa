"""Images, containers and other servers take minutes: only who asks for them (`-m deploy`) gets them."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `deploy`, unless marks are chosen explicitly."""
    if config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("deploy") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
