"""What a session asks, as an MCP elicitation form; and what a form's answer does to the session.

    approval            decision: approve or deny, reason          declined: denied
    uncertain call      verdict: retry, happened or failed, note   declined: it goes on waiting
    gate                action: one of the options, text, team     declined: it goes on waiting
    a tool or plugin    its fields                                 declined: stopped, where it may be
    a question          answer                                     declined: it goes on waiting

A form that was dismissed changes nothing. An approval is granted by the word approve alone.
"""

from functools import partial
from typing import Any

from mcp_types import ElicitResult

from orchestrator.client import Client
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import Record, Wait

_JSON_TYPES = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean", "choice": "string"}


def make_form(wait: Wait) -> JsonObject:
    """Return the elicitation request for what a session asks.

    >>> make_form(Wait(wait_id="w", kind="input", prompt="What now?"))["params"]["requestedSchema"]["required"]
    ['answer']
    """
    said = wait.prompt or wait.reason or "The session asks for input."
    if wait.call is not None:  # whoever decides has to see exactly what would be done
        said = f"{said}\n{wait.call.tool} {dump_json(wait.call.args)}"
    properties, required = _fields_of(wait)
    schema: JsonObject = {"type": "object", "properties": properties, "required": [*required]}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": said, "requestedSchema": schema}}


def _fields_of(wait: Wait) -> tuple[JsonObject, list[str]]:
    if wait.kind == "approval":
        return {"decision": _choice("approve", "deny"), "reason": _text("Why, for the journal.")}, ["decision"]
    if wait.kind == "uncertain":
        return {"verdict": _choice(*wait.options), "note": _text("What was found.")}, ["verdict"]
    if wait.gate:
        options = wait.options or ("resume_with_input",)
        fields: JsonObject = {"action": _choice(*options), "text": _text("What to go on with.")}
        if wait.teams and "escalate" in options:
            fields["team"] = _choice(*wait.teams)
        return fields, ["action"]
    if wait.prompt_id:
        needed = [one.id for one in wait.fields if one.required and one.default is None]
        return {one.id: _field(one) for one in wait.fields}, needed
    return {"answer": _text("The answer.")}, ["answer"]


def _text(description: str) -> JsonObject:
    return {"type": "string", "description": description}


def _choice(*words: str) -> JsonObject:
    return {"type": "string", "enum": [*words]}


def _field(field: PromptField) -> JsonObject:
    made: JsonObject = {"type": _JSON_TYPES[field.type]}
    if field.label:
        made["title"] = field.label
    if field.type == "choice":
        made["enum"] = [*field.choices]
    if field.default is not None:
        made["default"] = field.default
    return made


async def apply_response(client: Client, record: Record, response: ElicitResult, *, actor: str) -> None:
    """Answer what a session asks by a form's answer. Raise InputError (and below): then nothing was changed.

    The answer is for what `record` asks; what the session asks by now is not answered by it.
    """
    wait, session_id = record.wait, record.session_id
    if wait is None or response.action == "cancel":
        return
    answer = partial(client.answer, session_id, actor=actor, wait_id=wait.wait_id)
    content: dict[str, Any] = dict(response.content or {})
    if wait.kind == "approval":
        allow = response.action == "accept" and content.get("decision") == "approve"
        reason = _word(content, "reason") or ("" if response.action == "accept" else "declined")
        await client.decide(session_id, allow=allow, actor=actor, reason=reason, wait_id=wait.wait_id)
    elif response.action == "decline":
        if wait.prompt_id and "stop" in wait.options:
            await answer(verdict="stop", text="declined")
    elif wait.kind == "uncertain":
        await answer(verdict=_word(content, "verdict"), text=_word(content, "note"))
    elif wait.gate:
        team = _word(content, "team") or None
        text = _word(content, "text")
        await answer(verdict=_word(content, "action"), text=text, team=team)
    elif wait.prompt_id:
        await answer(value=content)
    else:
        await answer(text=_word(content, "answer"))


def _word(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    return "" if value is None else str(value)
