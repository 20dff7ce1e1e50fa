"""How much of a context stays word for word."""

import pytest

from orchestrator.contracts.context import ContextSpec


@pytest.mark.parametrize(("given", "kept"), [(None, 500), (0, 0), (900, 900)])
def test_half_of_the_budget_stays_where_nothing_is_said(given: int | None, kept: int) -> None:
    """Nothing is not none: an app may keep as little as the last message."""
    assert ContextSpec(max_tokens=1_001, keep_tokens=given).kept_tokens == kept
