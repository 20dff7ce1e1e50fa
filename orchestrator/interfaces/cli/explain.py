"""`baton explain`: what settled a session - rule, call, arguments - or why it is not settled yet."""

from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, output_option, session_argument
from orchestrator.interfaces.cli.output import make_console, make_table, one_line, print_json, print_plainly

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.contracts.session import Entry, Record, ToolCall

#: The calls that are told; earlier ones are in `baton events`.
CALLS: Final = 30


@click.command("explain")
@session_argument
@output_option
def explain_command(*, session_id: str, form: Form) -> int:
    """Say what settled a session, or why it is not settled yet."""
    from orchestrator.interfaces.cli.connect import with_client

    explanation = with_client(lambda client: load_explanation(client, session_id))
    if form == "json":
        print_json("explanation", explanation)
    else:
        _print(explanation)
    return OK


async def load_explanation(client: "Client", session_id: str) -> JsonObject:
    """Return everything that says why a session is where it is."""
    from orchestrator.interfaces.cli.shapes import iso, session_line, wait_shape
    from orchestrator.interfaces.cli.wording import describe_where, list_commands

    record = await client.show(session_id)
    settled = await client.explain(session_id)
    made: list[ToolCall] = []
    buried: JsonObject | None = None
    async for entry in client.events(session_id):
        made.extend(entry.calls)
        if entry.kind == "buried":
            buried = entry.data
    explanation: JsonObject = {
        **session_line(record),
        "settled": record.phase == "ended",
        "summary": summarise(record, settled),
        "where_it_is": describe_where(record),
        "wait": wait_shape(record),
        "answer_with": list(list_commands(record)),
        "settled_by": _settled_by(record, settled) if settled is not None else None,
        "fields": record.fields,
        "calls": [_call_shape(call) for call in made[-CALLS:]],
        "calls_made": len(made),
        "dead_letter": (buried or {"reason": record.reason}) if record.phase == "dead" else None,
        "settled_at": iso(settled.at) if settled is not None else None,
    }
    return explanation


def _settled_by(record: "Record", entry: "Entry") -> JsonObject:
    data = entry.data
    rule = data.get("rule")
    return {
        "reason": data.get("reason") or record.reason,
        "rule": rule + 1 if isinstance(rule, int) else None,
        "rule_text": data.get("rule_text"),
        "call_id": data.get("call_id"),
        "tool": data.get("tool"),
        "args": data.get("args"),
        "outcome": data.get("outcome"),
        "stop_reason": data.get("stop_reason"),
        "open_intents": data.get("open_intents") or [],
        "entry": entry.seq,
        "settled_by_worker": entry.actor,
    }


def _call_shape(call: "ToolCall") -> JsonObject:
    return {
        "call_id": call.call_id,
        "tool": call.tool,
        "args": call.args,
        "outcome": call.outcome,
        "skill": call.skill,
        "risk": call.risk,
        "approver": call.approver,
        "rationale": call.rationale,
    }


def summarise(record: "Record", settled: "Entry | None") -> str:
    """Return one sentence: how a session ended and by what, or where it stands."""
    from orchestrator.interfaces.cli.wording import describe_where

    if settled is None:
        return f"not settled: {describe_where(record)}" if record.phase != "dead" else describe_where(record)
    data, status = settled.data, record.status
    rule = data.get("rule")
    match data.get("reason"):
        case "rule" if isinstance(rule, int):
            return f"{status}, by rule {rule + 1}: {describe_rule(data.get('rule_text'))}, met by {data.get('call_id')}"
        case "escalation":
            return f"{status}: {data.get('stop_reason') or 'handed to a team by a person'}"
        case "stop":
            return f"{status}: {data.get('stop_reason') or 'stopped'}"
        case "default":
            why = record.fields.get("needs_review_reason") or "no call met a terminal rule"
            return f"{status}, the app's default: {one_line(str(why), 200)}"
        case _:
            return f"ended without a status: {data.get('stop_reason') or 'the app declares none for it'}"


def describe_rule(rule: object) -> str:
    """Return a terminal rule as its app wrote it, in a few words."""
    from orchestrator.interfaces.cli.wording import describe_call

    if not isinstance(rule, dict):
        return "a rule"
    wanted = rule.get("match_args")
    return describe_call(str(rule.get("tool_name")), wanted if isinstance(wanted, dict) else {}, 120).removesuffix("()")


def _print(explanation: JsonObject) -> None:
    from rich.text import Text

    from orchestrator.interfaces.cli.output import compact
    from orchestrator.interfaces.cli.wording import describe_call

    console = make_console()
    console.print(Text(f"{explanation['session_id']}: {explanation['summary']}", "bold"))
    answers = explanation["answer_with"]
    for command in answers if isinstance(answers, list) else ():
        console.print(f"  {command}")
    dead = explanation["dead_letter"]
    if isinstance(dead, dict):
        for name, value in dead.items():
            console.print(f"  {name}: {one_line(next(iter(str(value).splitlines()), ''), 400)}")
        console.print(f"  the whole of it: baton dead show {explanation['session_id']}")
    by = explanation["settled_by"]
    if isinstance(by, dict):
        if isinstance(by["rule_text"], dict):
            console.print(f"  rule {by['rule']}: {compact(by['rule_text'], 400)}")
        if by["tool"]:
            console.print(f"  call {by['call_id']} {by['outcome']}: {by['tool']} {compact(by['args'], 600)}")
        for intent in by["open_intents"] if isinstance(by["open_intents"], list) else ():
            console.print(f"  announced and without a known outcome: {intent}")
    fields = explanation["fields"]
    for name, value in fields.items() if isinstance(fields, dict) else ():
        console.print(
            f"  {one_line(str(name), 40)}: {one_line(value, 400) if isinstance(value, str) else compact(value, 400)}"
        )
    calls = explanation["calls"]
    if isinstance(calls, list) and calls:
        left = int(str(explanation["calls_made"])) - len(calls)
        console.print("\nTool calls" + (f" (the last; {left} before them)" if left else ""))
        table = make_table("SKILL", "CALL", "OUTCOME", "BY", cuts=("CALL", "BY"))
        for call in calls:
            if isinstance(call, dict):
                args = call["args"]
                by_whom = str(call["approver"] or "") + (f": {call['rationale']}" if call["rationale"] else "")
                table.add_row(
                    str(call["skill"]),
                    describe_call(str(call["tool"]), args if isinstance(args, dict) else {}, 100),
                    str(call["outcome"]),
                    one_line(by_whom, 60),
                )
        print_plainly(table)
