"""Decide how a session ends.

An app declares its terminal rules in YAML; this module picks the one that applies, and the fields
that go with it. Pure: no store, no clock. Ending the session exactly once is the work of
finalizer.py; that the rules name declared statuses is the work of app_loader.py.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator.contracts.app import AppSpec, StatusDef, TerminalRule
from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.session import SUCCESSFUL, ToolCall
from orchestrator.kernel.lookup import MISSING, find, names_match

#: Where an escalation's addressee goes when no rule says under which name the app keeps it.
TEAM_FIELD = "team"


class Settlement(Frozen):
    """How a session ends: its status, the fields to keep, and what decided.

    `rule` is the index of the app's terminal rule and `call_id` the call that met it; both are
    None where no call decided. `reason` says which of the ways to an end was taken.
    """

    status: str
    fields: JsonObject = {}
    rule: int | None = None
    reason: Literal["rule", "default", "escalation", "stop", "budget"]
    call_id: str | None = None


def matches(rule: TerminalRule, call: ToolCall) -> bool:
    """Say whether a call meets a rule: it succeeded, the tool is meant, and every argument is equal.

    An argument is compared as text and exactly: 1 is not "1", True is not "True", case counts.
    """
    return (
        call.outcome in SUCCESSFUL
        and names_match(rule.tool_name, call.tool)
        and all(call.args.get(name) == text for name, text in rule.match_args.items())
    )


def choose_rule(rules: Sequence[TerminalRule], calls: Sequence[ToolCall]) -> tuple[int, ToolCall] | None:
    """Return the index of the rule that the latest matching call meets, with that call, or None.

    >>> yes = TerminalRule(tool_name="say", status="accepted", match_args={"word": "yes"})
    >>> said = ToolCall(call_id="1", tool="srv:say", args={"word": "yes"}, outcome="executed")
    >>> choose_rule([yes], [said])[0]
    0
    """
    for call in reversed(calls):  # the latest call decides: an agent may change its mind
        for index, rule in enumerate(rules):  # then the app's own order: the narrow rule goes first
            if matches(rule, call):
                return index, call
    return None


def keep_terminal_call(spec: AppSpec, previous: ToolCall | None, new_calls: Sequence[ToolCall]) -> ToolCall | None:
    """Fold the calls of one step into the only call that a record must keep to be settled later.

    `choose_rule` over the kept call gives what it gives over every call of the session, so that a
    session's end costs the same at its thousandth call as at its first.
    """
    chosen = choose_rule(spec.terminal_tools, new_calls)
    return chosen[1] if chosen else previous


def extract(rule: TerminalRule, call: ToolCall) -> JsonObject:
    """Return the fields that a rule takes from its call: for each, the first lookup with a value."""
    fields: JsonObject = {}
    for field, lookups in rule.extract_fields.items():
        for lookup in lookups:
            value = find(lookup, call.args, call.result)
            if value is not MISSING:
                fields[field] = value
                break
    return fields


def add_mirrors(fields: JsonObject, status: StatusDef | None) -> JsonObject:
    """Return the fields with a status's mirrors; a mirror wins over a field of its name.

    >>> add_mirrors({"team": "a"}, StatusDef(kind="escalation", mirrors={"sent_to": "team", "x": "y"}))
    {'team': 'a', 'sent_to': 'a'}
    """
    mirrors = status.mirrors if status else {}
    return fields | {name: fields[source] for name, source in mirrors.items() if source in fields}


def settle(
    *,
    rules: Sequence[TerminalRule],
    statuses: Mapping[str, StatusDef],
    default_status: str | None,
    calls: Sequence[ToolCall],
    settled_as: str | None = None,
) -> Settlement | None:
    """Return how a session ends whose work is done, or None where nothing may change.

    Nothing changes where it is settled already, or where no call meets a rule and the app
    declares no default.
    """
    if settled_as is not None:
        return None
    chosen = choose_rule(rules, calls)
    if chosen is None:
        return None if default_status is None else Settlement(status=default_status, reason="default")
    index, call = chosen
    rule = rules[index]
    fields = add_mirrors(extract(rule, call), statuses.get(rule.status))
    return Settlement(status=rule.status, fields=fields, rule=index, reason="rule", call_id=call.call_id)


def settle_escalated(spec: AppSpec, team: str | None, settled_as: str | None = None) -> Settlement | None:
    """Return how a session ends that a person handed to a team, or None where nothing may change.

    The first rule about the app's escalation tool gives the status, whatever its `match_args`, and
    the name of its first extracted field takes the team. Without such a rule the default status
    does, and the field is called "team".
    """
    if settled_as is not None:
        return None
    tool = spec.escalate_action_tool_name
    for index, rule in enumerate(spec.terminal_tools):
        # Either side may be qualified by its server; they speak of one tool all the same.
        if tool and (names_match(rule.tool_name, tool) or names_match(tool, rule.tool_name)):
            status, field, rule_index = rule.status, next(iter(rule.extract_fields), TEAM_FIELD), index
            break
    else:
        if spec.default_terminal_status is None:
            return None
        status, field, rule_index = spec.default_terminal_status, TEAM_FIELD, None
    fields: JsonObject = {field: team} if team else {}
    fields = add_mirrors(fields, spec.statuses.get(status))
    return Settlement(status=status, fields=fields, rule=rule_index, reason="escalation")


def settle_stopped(spec: AppSpec, settled_as: str | None = None) -> Settlement | None:
    """Return how a stopped session ends, or None where nothing may change.

    The app's word for it is `cancelled_status`, else its default. A settled status is never
    overwritten.
    """
    status = spec.cancelled_status or spec.default_terminal_status
    if settled_as is not None or status is None:
        return None
    return Settlement(status=status, reason="stop")


def settle_over_budget(spec: AppSpec, settled_as: str | None = None) -> Settlement | None:
    """Return how a session ends whose budget is spent, or None where nothing may change.

    The app's word for it is its budget's `status`, else its default.
    """
    status = (spec.budget.status if spec.budget else None) or spec.default_terminal_status
    if settled_as is not None or status is None:
        return None
    return Settlement(status=status, reason="budget")
