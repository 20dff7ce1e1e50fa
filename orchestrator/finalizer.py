"""Settle a session exactly once by the terminal rules that its app declares.

The choice is pure (kernel/terminal.py); this module says which choice applies to how the work
came to its end: by itself, by a person's stop or cancel, or by an escalation. Exactly once is
the store's: `commit` lets a session go from finalizing to ended under the newest fence and the
read revision, and nothing leaves `ended`.
"""

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.event_names import CANCEL_COMPLETED
from orchestrator.contracts.session import SUCCESSFUL, Record
from orchestrator.kernel.change import Change
from orchestrator.kernel.lifecycle import cancelled_payload
from orchestrator.kernel.terminal import (
    Settlement,
    add_mirrors,
    settle,
    settle_escalated,
    settle_over_budget,
    settle_stopped,
)

#: Why a session ended by its default: no call met a rule.
NO_RULE_MET = "no call met a terminal rule"


def choose_settlement(spec: AppSpec, record: Record) -> Settlement | None:
    """Return how a session ends, or None where its app has no word for it."""
    cursor = record.cursor
    if spec.skills[cursor.skill].kind == "monitor":
        return None  # it watched for a day: none of the app's words is about that
    if cursor.stop in {"cancelled", "stopped"}:
        return settle_stopped(spec)
    if cursor.stop == "over_budget":
        return settle_over_budget(spec)
    if cursor.stop == "escalated":
        told = record.fields.get("escalated")
        team = told.get("team") if isinstance(told, dict) else None
        return settle_escalated(spec, team if isinstance(team, str) else None)
    kept = record.terminal_call
    return settle(
        rules=spec.terminal_tools,
        statuses=spec.statuses,
        default_status=spec.default_terminal_status,
        calls=() if kept is None or kept.outcome not in SUCCESSFUL else (kept,),
    )


def settle_session(spec: AppSpec, record: Record, *, open_intents: tuple[str, ...] = ()) -> Change:
    """Return the change that ends a session; the executor commits it."""
    settlement = choose_settlement(spec, record)
    cursor, call = record.cursor, record.terminal_call
    fields: JsonObject = {name: value for name, value in record.fields.items() if name != "escalated"}
    data: JsonObject = {}
    status = reason = ""
    if settlement is not None:
        status, reason = settlement.status, settlement.reason
        fields = {**fields, **add_mirrors(settlement.fields, spec.statuses.get(status))}
        data = {"status": status, "reason": reason, "rule": settlement.rule, "call_id": settlement.call_id}
        if settlement.rule is not None:
            data["rule_text"] = spec.terminal_tools[settlement.rule].model_dump(mode="json", exclude_defaults=True)
        if call is not None and settlement.call_id == call.call_id:
            data |= {"tool": call.tool, "args": call.args, "outcome": call.outcome}
        if reason == "default":
            fields["needs_review_reason"] = cursor.stop_reason or NO_RULE_MET
    if cursor.stop is not None:
        reason = cursor.stop
        data["stop_reason"] = cursor.stop_reason
    if (
        record.cancel is not None and cursor.stop != "cancelled"
    ):  # it came to its end by itself before it could be stopped
        data |= {"event": CANCEL_COMPLETED, **cancelled_payload(None, was_immediate=record.cancel_immediate)}
    if open_intents:  # announced, and nobody can say whether they acted: a person must be able to see it
        data["open_intents"] = list(open_intents)
    return Change(
        record=record.model_copy(update={"fields": fields, "reason": reason or "default", "wait": None}),
        step="finalize",
        directive="ended",
        status=status,
        data=data,
    )
