"""The wire between host and plugin, seen from the host: requests that are made, frames that are believed only as far as they are checked.

A frame is one JSON object, to the end of the stream. Refused are: more bytes than allowed, another encoding than UTF-8, duplicate
keys, NaN and infinities, lone surrogates, numbers of thousands of digits, nesting beyond 50, a field that nobody
declared, a field of another type. Whatever is wrong is a ProtocolError, never another exception.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import Field, ValidationError

from plugin_sandbox.model import Call, Json, LogRecord, PromptField, Shape

REQUEST_BYTES: Final = 1_048_576
#: It is kept with its session until somebody answers, and shown to a person.
QUESTION_BYTES: Final = 65_536
_DEPTH: Final = 50
_LOG_LINES: Final = 2_000
_MESSAGE_CHARS: Final = 4_000
_LEVELS: Final = {level: level for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")} | {"WARN": "WARNING"}
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class ProtocolError(Exception):
    """What crossed the boundary is not what was agreed."""


class PerFile(Shape):
    """What the plugin says of one file."""

    path: Annotated[str, Field(max_length=4096)]
    status: Literal["skipped", "modified", "described", "failed", "input_required"]
    changes: list[Json] | None = None
    error: Annotated[str, Field(max_length=10_000)] | None = None


class Question(Shape):
    """What the plugin asks."""

    fields: Annotated[list[PromptField], Field(max_length=50)]
    reason: Annotated[str, Field(max_length=1000)] = ""


class Frame(Shape):
    """A plugin's answer: well-formed, which is all that it is."""

    result: Literal["success", "failed", "input_required"]
    per_file: list[PerFile] = []
    input_required: Question | None = None
    error_message: Annotated[str, Field(max_length=100_000)] | None = None
    error_kind: Literal["memory", "disk", "file", "files", "processes", "threads"] | None = None


def encode_request(call: Call, work: str, proxy: str = "") -> bytes:
    """Return the request of a call that sees its workspace at `work`; raise ProtocolError where it is too large or no JSON.

    proxy: the socket that leads out, "" where none does.
    """
    request = {
        "package": str(call.plugin.path),
        "work": work,
        "files": list(call.files),
        "proxy": proxy,
        "answers": {name: value for answer in call.answers.values() for name, value in answer.items()},
        "context": {
            "variables": call.variables,
            "answers_file": call.answers_file,
            "template_name": call.template_name,
            "template_version": call.template_version,
            "run_kind": call.run_kind,
            "equipment_id": call.equipment_id,
            "project": call.project,
            "dry_run": call.dry_run,
        },
    }
    try:
        data = json.dumps(request, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(
            f"request: the variables are no JSON ({error}); give text, numbers, lists, mappings"
        ) from error
    if len(data) > REQUEST_BYTES:
        raise ProtocolError(f"request: {len(data)} bytes, {REQUEST_BYTES} are allowed (ipc_frame_oversize); give less")
    return data


def parse_result(data: bytes) -> Frame:
    """Return the frame of a plugin; raise ProtocolError."""
    if not data:
        raise ProtocolError("result: the plugin ended without an answer")
    found = _read_object(data, "result")
    try:
        frame = Frame.model_validate_json(json.dumps(found))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ProtocolError(f"result: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    if (frame.result == "input_required") is (frame.input_required is None):
        raise ProtocolError("result: input_required and its question do not go together")
    if frame.input_required is not None:
        names = [one.id for one in frame.input_required.fields]
        if not names or len(set(names)) != len(names):
            raise ProtocolError("result: a question needs fields, each with an id of its own")
        if any(one.type == "choice" and not one.choices for one in frame.input_required.fields):
            raise ProtocolError("result: a field of type choice needs choices")
        if any(escape(choice) != choice for one in frame.input_required.fields for choice in one.choices):
            raise ProtocolError("result: a choice has characters that cannot be shown")
        if (size := len(frame.input_required.model_dump_json().encode())) > QUESTION_BYTES:
            raise ProtocolError(f"result: a question of {size} bytes, {QUESTION_BYTES} are allowed; ask for less")
    return frame


def _read_object(data: bytes, what: str) -> Json:
    try:
        text = data.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        _check(found)
    except UnicodeError as error:
        raise ProtocolError(f"{what}: it is no UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{what}: it is no JSON as agreed ({type(error).__name__}: {str(error)[:200]})") from error
    if not isinstance(found, dict):
        raise ProtocolError(f"{what}: it is no object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """1e999 is written as a number and read as an infinity, which nobody after us could write down again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _check(value: object) -> None:
    """Refuse what is too deep, and text that cannot be encoded; without recursion."""
    left: list[tuple[object, int]] = [(value, 1)]
    while left:
        one, depth = left.pop()
        if depth > _DEPTH:
            raise ValueError(f"nested deeper than {_DEPTH}")
        if isinstance(one, str):
            one.encode()
        elif isinstance(one, dict):
            left.extend((part, depth + 1) for pair in one.items() for part in pair)
        elif isinstance(one, list):
            left.extend((part, depth + 1) for part in one)


def escape(text: str) -> str:
    """Return text without characters that would forge lines, turn their direction, or cannot be written down.

    >>> escape("one\\ntwo")
    'one\\\\ntwo'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def parse_logs(data: bytes, plugin: str) -> tuple[LogRecord, ...]:
    """Return what a plugin logged: JSON lines by their level, all else as INFO; capped and escaped."""
    lines = data.decode("utf-8", "replace").splitlines()
    records = [_record(line, plugin) for line in _capped(lines)]
    if len(lines) > _LOG_LINES:
        records.append(_make("WARNING", f"{len(lines) - _LOG_LINES} more lines were dropped", plugin, {}))
    return tuple(records)


def _capped(lines: list[str]) -> Iterable[str]:
    return lines[:_LOG_LINES]


def _record(line: str, plugin: str) -> LogRecord:
    try:
        found = _read_object(line.encode(), "log")
    except ProtocolError:
        return _make("INFO", line, plugin, {})
    level = _LEVELS.get(str(found.get("level", "")).upper(), "INFO")
    context = found.get("context")
    return _make(level, str(found.get("message", "")), plugin, context if isinstance(context, dict) else {})


def _make(level: str, message: str, plugin: str, context: Json) -> LogRecord:
    text = json.dumps(context)
    kept = {escape(str(name)): value for name, value in context.items()} if len(text) <= _MESSAGE_CHARS else {}
    return LogRecord(level=level, message=escape(message[:_MESSAGE_CHARS]), plugin=plugin, context=kept)  # type: ignore[arg-type]
