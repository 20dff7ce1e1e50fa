"""A dialog's request and its answer."""

import pytest
from pydantic import ValidationError

from orchestrator.contracts.approvals import ApprovalRequest, ApprovalResponse


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_a_request_without_time_is_refused(timeout: float) -> None:
    """It would be answered by nobody, always."""
    with pytest.raises(ValidationError, match=r"Timeout must be positive or None \(infinite wait\)"):
        ApprovalRequest(tool_name="t", action="a", risk_level="low", timeout=timeout)


@pytest.mark.parametrize(("timeout", "kept"), [(None, None), (5, 5.0), (0.1, 0.1)])
def test_a_request_waits_as_long_as_it_says(timeout: float | None, kept: float | None) -> None:
    """None waits without end."""
    assert ApprovalRequest(tool_name="t", action="a", risk_level="any", timeout=timeout).timeout == kept


def test_an_answer_is_for_once_unless_it_says_otherwise() -> None:
    """Remembering has to be asked for."""
    answer = ApprovalResponse(approved=True)

    assert (answer.reason, answer.remember) == (None, False)
