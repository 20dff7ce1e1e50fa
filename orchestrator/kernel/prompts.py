"""Check a person's answer to a plugin's question: every field by its type, nothing that was not asked.

Pure. A refusal changes nothing, and the session goes on waiting.
"""

import math
from collections.abc import Mapping, Sequence
from typing import assert_never

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import suggest
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import Post, Wait
from orchestrator.kernel.answers import Refused

#: A text for one field, and an answer to all, may be so long.
MOST_TEXT_CHARS = 10_000

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def check_answers(fields: Sequence[PromptField], answers: JsonValue) -> JsonObject | Refused:
    """Return the answers with defaults filled in, or why they are none.

    >>> asked = (PromptField(id="unit", type="choice", choices=("mm", "in")), PromptField(id="rows", type="integer", default=3))
    >>> check_answers(asked, {"unit": "mm"})
    {'unit': 'mm', 'rows': 3}
    >>> check_answers(asked, {"unit": "km"}).reason
    "field 'unit': 'km' does not fit; give one of mm, in"
    """
    if not isinstance(answers, dict):
        return Refused(reason=f"an answer is an object of fields; give {', '.join(one.id for one in fields) or 'none'}")
    known = {one.id: one for one in fields}
    for name in answers:
        if name not in known:
            return Refused(reason=f"field {name!r} is not asked for; {suggest(name, known)}")
    made: JsonObject = {}
    for name, one in known.items():
        value = answers.get(name)
        if value is None:
            value = one.default
        if value is None:
            if one.required:
                return Refused(reason=f"field {name!r} is missing; give {_wanted(one)}")
            continue
        if not _fits(one, value):
            return Refused(reason=f"field {name!r}: {str(value)[:100]!r} does not fit; give {_wanted(one)}")
        made[name] = value
    return made


def read_texts(fields: Sequence[PromptField], texts: Mapping[str, str]) -> JsonObject | Refused:
    """Return the answers that a person typed, each read by its field's type.

    >>> read_texts((PromptField(id="rows", type="integer"), PromptField(id="ok", type="boolean")), {"rows": "7", "ok": "yes"})
    {'rows': 7, 'ok': True}
    """
    known = {one.id: one for one in fields}
    values: JsonObject = {name: _read(known[name], text) if name in known else text for name, text in texts.items()}
    return check_answers(fields, values)


def read_answer(wait: Wait, post: Post) -> JsonObject | Refused:
    """Return what a post answers to a plugin's question; a plain text answers a question of one field."""
    if post.value is not None:
        return check_answers(wait.fields, post.value)
    if not post.text.strip() and all(not one.required or one.default is not None for one in wait.fields):
        return check_answers(wait.fields, {})
    if len(wait.fields) != 1:
        return check_answers(wait.fields, None)
    return read_texts(wait.fields, {wait.fields[0].id: post.text})


def _wanted(field: PromptField) -> str:
    if field.type == "choice":
        return f"one of {', '.join(field.choices)}"
    return {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}[
        field.type
    ]


def _fits(field: PromptField, value: JsonValue) -> bool:
    match field.type:
        case "string":
            return isinstance(value, str) and len(value) <= MOST_TEXT_CHARS
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            # A whole number of any length is finite, and too long a one is more than isfinite can ask about.
            return (isinstance(value, int) and not isinstance(value, bool)) or (
                isinstance(value, float) and math.isfinite(value)
            )
        case "boolean":
            return isinstance(value, bool)
        case "choice":
            return isinstance(value, str) and value in field.choices
        case _:
            assert_never(field.type)


def _read(field: PromptField, text: str) -> JsonValue:
    """Return a text as its field's type; a text that is none stays, and is refused as what it is."""
    word = text.strip()
    try:
        if field.type == "integer":
            return int(word)
        if field.type == "number":
            return float(word)
    except ValueError:
        return text
    if field.type == "boolean" and word.lower() in (*_TRUE, *_FALSE):
        return word.lower() in _TRUE
    return word if field.type == "choice" else text
