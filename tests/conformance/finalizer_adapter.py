"""Translate a finalizer case into the kernel's own values, and its settlement back.

No rule lives here. Two shapes have no counterpart in our contracts and are translated: a call that
has not ended (its outcome is none of ours) is no call yet, and arguments that are no mapping are
no arguments.
"""

from collections.abc import Iterable
from typing import Any, get_args

from orchestrator.contracts.app import StatusDef, TerminalRule
from orchestrator.contracts.session import ToolCall, ToolOutcome
from orchestrator.kernel.terminal import Settlement
from orchestrator.kernel.terminal import settle as settle_session


def settle(case_in: dict[str, Any]) -> dict[str, Any] | None:
    """Return `{status, fields, rule}` for a case's `in`, or None where nothing may change."""
    app = case_in["app"]
    settlement = settle_session(
        rules=[TerminalRule.model_validate(rule) for rule in app.get("terminal_tools") or ()],
        statuses={name: StatusDef.model_validate(value) for name, value in (app.get("statuses") or {}).items()},
        default_status=app.get("default_terminal_status"),
        calls=_translate_calls(case_in.get("tool_calls") or ()),
        settled_as=case_in.get("settled_as"),
    )
    return None if settlement is None else _translate_settlement(settlement)


def _translate_calls(calls: Iterable[dict[str, Any]]) -> list[ToolCall]:
    return [
        ToolCall(
            call_id=str(position),
            tool=call["tool"],
            args=call["args"] if isinstance(call.get("args"), dict) else {},
            result=call.get("result"),
            outcome=call["outcome"],
        )
        for position, call in enumerate(calls)
        if call["outcome"] in get_args(ToolOutcome)
    ]


def _translate_settlement(settlement: Settlement) -> dict[str, Any]:
    return {"status": settlement.status, "fields": settlement.fields, "rule": settlement.rule}
