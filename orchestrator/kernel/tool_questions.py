"""A tool that asks a person before it acts: its question becomes a wait, the answer goes back to it with the next try.

Understood are forms of MCP's elicitation (texts, numbers, yes or no, one of several) and its links (a person says that they
are done there). What else a server may ask - a model's word, folders of a client, several of a list - nobody here answers: the
call fails, and the model is told. Pure.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, cast

from pydantic import ValidationError

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ToolError
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import PendingCall, Record, Wait, args_digest
from orchestrator.contracts.tool_questions import ToolAnswers, ToolQuestion

#: Of one call: a tool that asks for ever would keep its session for ever.
MOST_ROUNDS: Final = 10
MOST_FIELDS: Final = 50
MOST_STATE_CHARS: Final = 32_768
MOST_PROMPT_CHARS: Final = 4_000

#: What a person may do about a tool's question.
OPTIONS: Final = ("resume_with_input", "stop")

_Kind: TypeAlias = Literal["string", "integer", "number", "boolean", "choice"]
_KINDS: Final[frozenset[str]] = frozenset({"string", "integer", "number", "boolean"})


def read_question(
    tool: str, requests: Mapping[str, Any], request_state: str | None, *, before: ToolQuestion | None = None
) -> ToolQuestion:
    """Return the question that a server's requests make; raise ToolError for one that nobody can answer here.

    Without requests the server only wants to be asked again: such a question is answered already.
    """
    number = 1 if before is None else before.round + 1
    if number > MOST_ROUNDS:
        raise ToolError(f"{tool}: it asked {MOST_ROUNDS} times in one call; the tool must be mended")
    if request_state is not None and len(request_state) > MOST_STATE_CHARS:
        raise ToolError(f"{tool}: its request state is over {MOST_STATE_CHARS} characters; the tool must be mended")
    said: list[str] = []
    fields: dict[str, PromptField] = {}
    places: dict[str, tuple[str, str]] = {}
    for key, request in requests.items():
        for name, field in _read_request(tool, request, said):
            if len(fields) == MOST_FIELDS:
                raise ToolError(f"{tool}: it asks for more than {MOST_FIELDS} fields; ask for less at once")
            made = _free_id(name or "done", fields)
            fields[made] = field.model_copy(update={"id": made})
            places[made] = (key, name)
    return ToolQuestion(
        round=number,
        request_state=request_state,
        prompt="\n".join(said)[:MOST_PROMPT_CHARS],
        fields=tuple(fields.values()),
        places=places,
        keys=tuple(requests),
        answers=None if requests else {},
    )


def _read_request(tool: str, request: Any, said: list[str]) -> list[tuple[str, PromptField]]:  # noqa: ANN401 - a server's word
    """Return the fields of one request by property, and add its message to what is said."""
    params = request.get("params") if isinstance(request, dict) else None
    if not isinstance(params, dict) or request.get("method") != "elicitation/create":
        raise ToolError(f"{tool}: it asks for something that nobody answers here; only forms and links are answered")
    said.append(str(params.get("message") or "it asks for input"))
    if params.get("mode") == "url":
        said.append(f"Open {params.get('url')} and say when it is done.")
        return [("", PromptField(id="done", label="Done?", type="boolean"))]
    schema = params.get("requested_schema") or params.get("requestedSchema") or {}
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    return [(name, _read_field(tool, name, shape, required=name in required)) for name, shape in properties.items()]


def _read_field(tool: str, name: str, shape: Any, *, required: bool) -> PromptField:  # noqa: ANN401 - a server's word
    given = shape if isinstance(shape, dict) else {}
    kind = given.get("type")
    options = given.get("enum") or [one.get("const") for one in given.get("oneOf") or () if isinstance(one, dict)]
    if kind not in _KINDS:
        raise ToolError(f"{tool}: its field {name[:100]!r} has a type that no form here has; ask for text or a number")
    try:
        return PromptField(
            id="field",
            label=str(given.get("title") or given.get("description") or name)[:200],
            type="choice" if options else cast("_Kind", kind),
            choices=tuple(options),
            required=required,
            default=given.get("default"),
        )
    except ValidationError as error:
        raise ToolError(f"{tool}: its field {name[:100]!r} is no field of a form; the tool must be mended") from error


def _free_id(name: str, taken: Mapping[str, object]) -> str:
    """Return a name that a field may have, and that is not taken.

    >>> _free_id("how many?", {}), _free_id("done", {"done": 1}), _free_id("2nd", {})
    ('how_many_', 'done_2', '_2nd')
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:60]
    plain = f"_{plain}" if not plain or plain[0].isdigit() else plain
    number, made = 1, plain
    while made in taken:
        number += 1
        made = f"{plain}_{number}"
    return made


def is_asking(call: PendingCall) -> bool:
    """Say whether a call's tool waits for a person's answer."""
    return call.asked is not None and call.asked.answers is None


def question_wait(spec: AppSpec, record: Record, call: PendingCall, now: int) -> Wait:
    """Return the wait for the answer to a call's question; it lasts as long as an approval."""
    question = call.asked
    if question is None:
        raise ToolError(f"{call.tool}: it asks nothing; this is a defect, report it")
    seconds = spec.gateway.approval_timeout_seconds if spec.gateway else 3600.0
    return Wait(
        wait_id=f"{record.session_id}/input-{call.call_id}-{question.round}",
        kind="input",
        since_at=now,
        deadline_at=now + int(seconds * 1000),
        prompt=f"{call.tool}: {question.prompt}",
        options=OPTIONS,
        call=call.model_copy(update={"asked": None}),
        digest=args_digest(call.tool, call.args),
        prompt_id=f"{call.call_id}-{question.round}",
        fields=question.fields,
        reason="tool_input",
    )


def with_answers(record: Record, wait: Wait, answers: JsonObject) -> Record:
    """Return the session with a person's answers at the call that asked, waiting no more."""
    asked = wait.call.call_id if wait.call is not None else ""
    calls = tuple(
        call.model_copy(update={"asked": call.asked.model_copy(update={"answers": answers})})
        if call.call_id == asked and call.asked is not None
        else call
        for call in record.cursor.calls
    )
    return record.model_copy(update={"cursor": record.cursor.model_copy(update={"calls": calls}), "wait": None})


def answers_to(call: PendingCall) -> ToolAnswers | None:
    """Return what goes back to a call's tool with the next try, None where it has asked nothing.

    >>> asked = ToolQuestion(round=1, request_state="s", places={"unit": ("form", "unit")}, keys=("form",), answers={"unit": "mm"})
    >>> answers_to(PendingCall(call_id="c", tool="t", asked=asked)).responses
    {'form': {'action': 'accept', 'content': {'unit': 'mm'}}}
    """
    question = call.asked
    if question is None or question.answers is None:
        return None
    responses: dict[str, JsonObject] = {key: {"action": "accept", "content": {}} for key in question.keys}
    for field, (key, name) in question.places.items():
        value = question.answers.get(field)
        if not name:
            responses[key] = {"action": "accept" if value is True else "decline"}
        elif field in question.answers:
            cast("JsonObject", responses[key]["content"])[name] = value
    return ToolAnswers(responses=responses, request_state=question.request_state)
