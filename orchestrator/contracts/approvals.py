"""A request for approval as a dialog shows it, and what the dialog answers.

The one vocabulary of granting words is `kernel/approval.py`'s; here a person's answer is a boolean
already. Questions that a hook asks go another way: `HookResult` with `ask_user`.
"""

from typing import Any, Self

from pydantic import model_validator

from orchestrator.contracts.base import Lenient


class ApprovalRequest(Lenient):
    """May this tool do this? `timeout` is in seconds, None waits without end.

    `risk_level` is low, medium, high or critical by convention; other words are let through, because
    an approval must not fail on the wording of its request.
    """

    tool_name: str
    action: str
    details: dict[str, Any] = {}
    risk_level: str
    timeout: float | None = None

    @model_validator(mode="after")
    def _has_a_positive_timeout(self) -> Self:
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError("Timeout must be positive or None (infinite wait)")
        return self


class ApprovalResponse(Lenient):
    """What was answered; `remember` asks to answer the same request the same way from now on."""

    approved: bool
    reason: str | None = None
    remember: bool = False
