"""Read what is to be submitted, and check all of it before the first session is created.

Sources: JSON lines from a file or standard input, the app's own options (contracts/demo.py), or a text. The result is
a list of requests, or one InputError with a line for each that is wrong.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import Field, JsonValue, ValidationError

from orchestrator.app_code import call_function
from orchestrator.app_loader import load_function, validate_state
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import Frozen, JsonObject, dump_json, load_json
from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import AppCodeFailed, BatonError, InputError, PayloadTooLarge, suggest
from orchestrator.contracts.own_keys import check_callers_key
from orchestrator.contracts.session import Priority
from orchestrator.settings import Settings

#: Lines of one file; a larger batch is split by whoever made it.
MOST_LINES: Final = 100_000
#: Wrong lines that are told; the rest is counted.
TOLD_PROBLEMS: Final = 20
KEY_CHARS: Final = 200
SUBMIT_FILE: Final = "submit.py"


class Line(Frozen):
    """One line of a JSONL file."""

    text: str = ""
    state: JsonObject = Field(default_factory=dict)
    key: str | None = None
    priority: Priority | None = None


class Request(Frozen):
    """One session that is to be submitted, checked; `where` names its line or option for messages."""

    where: str
    text: str = ""
    state: JsonObject = Field(default_factory=dict)
    key: str | None = None
    priority: Priority = "normal"
    title: str = ""


def read_lines(source: str, priority: Priority) -> list[Request]:
    """Return the requests of a JSONL file, `-` for standard input; raise InputError for what cannot be read."""
    name = "standard input" if source == "-" else source
    problems: list[str] = []
    requests: list[Request] = []
    for number, text in enumerate(_text_lines(source, name), 1):
        if not text.strip():
            continue
        if len(requests) >= MOST_LINES:
            raise InputError(f"{name}: over {MOST_LINES} lines; split it")
        where = f"{name}:{number}"
        try:
            line = Line.from_json(text)
        except ValidationError as error:
            problems += [f"{where}: {_say(one)}" for one in error.errors(include_url=False, include_input=False)]
            continue
        requests.append(
            Request(where=where, text=line.text, state=line.state, key=line.key, priority=line.priority or priority)
        )
    _refuse(problems)
    if not requests:
        raise InputError(f'{name}: it holds no submission; write one JSON object a line, e.g. {{"text": "..."}}')
    return requests


def read_app_options(spec: AppSpec, options: Mapping[str, str], priority: Priority) -> list[Request]:
    """Return what the app makes of its own options.

    Raise InputError where it has none or refuses them, AppCodeFailed where its code fails.
    """
    if not has_options(spec):
        option = next(iter(options), "").replace("_", "-")
        raise InputError(
            f"option --{option}: app {spec.name} has no options of its own (no {SUBMIT_FILE}); "
            f"use --text, --set or --state, or see `baton submit --help`"
        )
    submissions = partial(load_function(spec, f"{SUBMIT_FILE}:submissions"), dict(options))
    try:
        made = call_function(submissions, own=(BatonError,))
    except AppCodeFailed as error:
        raise AppCodeFailed(f"app {spec.name}: {SUBMIT_FILE} failed: {error}; mend the app") from error
    return [
        Request(
            where=f"{spec.name} #{number}",
            text=one.text,
            state=one.overrides,
            key=one.key,
            priority=priority,
            title=one.title,
        )
        for number, one in enumerate(check_submissions(spec, SUBMIT_FILE, made), 1)
    ]


def check_submissions(spec: AppSpec, file: str, made: object) -> list[Submission]:
    """Return what an app's code gave as submissions; raise InputError for anything else."""
    if not isinstance(made, Sequence) or not all(isinstance(one, Submission) for one in made):
        raise InputError(f"app {spec.name}: {file} returned no list of Submission; mend the app")
    return list(made)


def has_options(spec: AppSpec) -> bool:
    """Say whether an app brings options of its own."""
    return bool(spec.root) and (Path(spec.root) / SUBMIT_FILE).is_file()


def parse_options(words: Sequence[str], known: Iterable[str]) -> dict[str, str]:
    """Return `--some-option VALUE` words as {"some_option": "VALUE"}; a flag without a value is "yes".

    >>> parse_options(["--repo", ".", "--dry-run", "--range=a..b"], ())
    {'repo': '.', 'dry_run': 'yes', 'range': 'a..b'}
    """
    options: dict[str, str] = {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("--") or word == "--":
            hint = suggest(word, [*known]) if word.startswith("-") else "an option begins with --"
            raise InputError(f"argument {word[:80]!r}: not understood; {hint}")
        name, equals, value = word[2:].partition("=")
        if not equals:
            has_value = at < len(words) and not words[at].startswith("--")
            value = words[at] if has_value else "yes"
            at += has_value
        key = name.replace("-", "_")
        if not key.isidentifier():
            raise InputError(f"option {word[:80]!r}: not the name of an option; write --name VALUE")
        if key in options:
            raise InputError(f"option --{name}: given twice; give it once")
        options[key] = value
    return options


def read_state(given: str | None, pairs: Sequence[str], *, option: str = "--state") -> JsonObject:
    """Return the state of `--state JSON|@FILE`, with `--set KEY=VALUE` on top; raise InputError.

    A value that is JSON is read as JSON, any other is text.

    >>> read_state('{"a": 1}', ["b=2", "c=two", 'd="2"'])
    {'a': 1, 'b': 2, 'c': 'two', 'd': '2'}
    """
    state: JsonObject = {}
    if given is not None:
        text, where = given, f"option {option}"
        if given.startswith("@"):
            where = f"option {option} {given}"
            try:
                text = Path(given[1:]).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{where}: cannot be read ({_reason(error)}); name a JSON file") from error
        try:
            value = load_json(text)
        except ValueError as error:
            raise InputError(f"{where}: not JSON ({error}); write an object, or @FILE") from error
        if not isinstance(value, dict):
            raise InputError(f'{where}: not an object; write e.g. {{"key": "value"}}')
        state = value
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"option --set {pair[:80]!r}: no `=` in it; write KEY=VALUE")
        state = {**state, name: read_value(text)}
    return state


def read_value(text: str) -> JsonValue:
    """Return a value from the command line: JSON where it is JSON, else the text itself.

    >>> read_value("3"), read_value("three"), read_value("[1]")
    (3, 'three', [1])
    """
    try:
        return load_json(text)
    except ValueError:
        return text


def check_requests(spec: AppSpec, requests: Sequence[Request], settings: Settings) -> None:
    """Raise InputError with every request that could not be submitted; nothing has been by then.

    Baton's own keys are refused here, too. An operator may do anything, but the keys of a file or of an app's options come from
    anywhere, and nobody needs to type one: who stands in for a sender fires its trigger.
    """
    problems: list[str] = []
    by_key: dict[str, Request] = {}
    limits = settings.limits
    for request in requests:
        label = f"{request.where}: " if len(requests) > 1 else ""
        try:
            state = validate_state(spec, request.state)
        except InputError as error:
            problems += [f"{label}{line}" for line in str(error).splitlines()]
            continue
        for what, value, limit in (
            ("text", request.text, limits.text_bytes),
            ("state", dump_json(state), limits.state_bytes),
        ):
            size = len(value.encode())
            if size > limit:
                problems.append(f"{label}{PayloadTooLarge(what, size, limit)}")
        if request.key is None:
            continue
        if not 1 <= len(request.key) <= KEY_CHARS:
            problems.append(f"{label}key: it must have 1 to {KEY_CHARS} characters; shorten it")
        try:
            check_callers_key(request.key)
        except InputError as error:
            problems.append(f"{label}{error}")
        same = by_key.setdefault(request.key, request)
        if (same.text, same.state, same.priority) != (request.text, request.state, request.priority):
            problems.append(f"{label}key {request.key!r}: {same.where} has it for something else; use a key of its own")
    _refuse(problems)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        told = list(problems[:TOLD_PROBLEMS])
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        raise InputError("\n".join(told))


def _text_lines(source: str, name: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).expanduser().read_bytes()
        return data.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot be read ({_reason(error)}); name a UTF-8 file of JSON lines") from error


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _say(error: Mapping[str, object]) -> str:
    """Return what pydantic found wrong with a line."""
    place = ".".join(str(part) for part in error["loc"]) if isinstance(error["loc"], tuple) else ""
    if error["type"] == "extra_forbidden":
        return f"unknown field {place!r}; {suggest(place, Line.model_fields)}"
    message = str(error["msg"])
    return f"{place}: {message}" if place else message
