"""What is fuzzed: readers of what others wrote, each as one function over bytes that fails where a promise is broken.

A target gets any bytes. It passes where the reader answers, or refuses as its own docstring says (its error class, its
`where: what`), and raises where anything else comes out: another exception, or an answer that cannot be written down
again. The same functions are driven by hypothesis (test_fuzz_inputs.py) and by atheris (`python -m tests.fuzz`).
Scripts, mailboxes and the HTTP API need a server: they have tests of their own.
"""

import json
import re
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import (
    AppInvalid,
    BatonError,
    HookResultInvalid,
    PhaseRefused,
    Unreadable,
)
from orchestrator.contracts.hook_result import HookResult, parse_hook_result
from orchestrator.contracts.session import Cursor, Post, Record, Wait
from orchestrator.kernel.cron import cron_problem, last_time, next_time
from orchestrator.kernel.delivery import deliver
from orchestrator.kernel.expressions import ExpressionError, compile_expression
from orchestrator.kernel.forking import fold_point, is_open, plan_fork, read_mark
from orchestrator.kernel.hook_effects import plan_notice, plan_question
from orchestrator.kernel.hook_merge import fold_results
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.kernel.signatures import ID_HEADER, SIGNATURE_HEADER, TIME_HEADER, find_fault, read_secret, sign
from orchestrator.store.codec import decode_record
from orchestrator.store.views import read_body, read_entry
from plugin_sandbox.manifest import NAME, ManifestInvalid, read_manifest
from plugin_sandbox.model import Prompt
from plugin_sandbox.outcome import AnswerInvalid, check_answers
from plugin_sandbox.protocol import ProtocolError, parse_logs, parse_result
from plugin_sandbox.settings import SandboxSettings

CORPUS: Final = Path(__file__).parent / "corpus"
EVERYTHING: Final = Path(__file__).parent.parent / "apps" / "everything"
#: A problem's line: a place, what is wrong, and nothing of Python's own.
LINE: Final = re.compile(r"[^\n]+?: [^\n]+", re.DOTALL)
NOW: Final = 1_700_000_000_000
ORIGIN: Final = "SES-20260101-001"
OWN: Final = "SES-20260101-002"

Target = Callable[[bytes], None]


class Broken(AssertionError):
    """A reader kept no promise: what it said is no sentence, or its answer is not what its own rules allow."""


@contextmanager
def only(*refusals: type[Exception]) -> Iterator[None]:
    """Let these refusals pass, if each says `where: what`; whatever else comes out is the finding."""
    try:
        yield
    except refusals as error:
        if not str(error).strip() or "Traceback" in str(error):
            raise Broken(f"{type(error).__name__} says {str(error)!r}") from error
        if isinstance(error, BatonError) and not LINE.match(str(error)):
            raise Broken(f"no `where: what` in {str(error)!r}") from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _json(data: bytes) -> object:
    """Return what JSON there is, with whatever a lenient reader would let through."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


# --- files that people write


def app(data: bytes) -> None:
    """An app.yaml, and after a line `---8<---` the config.yaml of a skill: a spec, or AppInvalid with places."""
    main, _, skill = data.partition(b"\n---8<---\n")
    with tempfile.TemporaryDirectory(prefix="fuzz-app-") as name:
        folder = Path(name)
        (folder / "app.yaml").write_bytes(main)
        (folder / "state.py").write_text(
            "from pydantic import BaseModel\n\n\nclass State(BaseModel):\n    n: int = 0\n"
        )
        if skill:
            (folder / "skills" / "look").mkdir(parents=True)
            (folder / "skills" / "look" / "config.yaml").write_bytes(skill)
            (folder / "skills" / "look" / "a.md").write_text("Look.\n")
        try:
            spec = load_app(folder, env={"SET": "1"}, import_code=False)
        except AppInvalid as error:
            if not error.problems or not all(LINE.fullmatch(line) for line in error.problems):
                raise Broken(f"problems without a place: {error.problems!r}") from error
        else:
            if AppSpec.from_json(spec.to_json()) != spec:
                raise Broken("the spec does not survive JSON")


def manifest(data: bytes) -> None:
    """A plugin's manifest.yml: a manifest, or ManifestInvalid."""
    with tempfile.TemporaryDirectory(prefix="fuzz-plugin-") as name:
        (Path(name) / NAME).write_bytes(data)
        with only(ManifestInvalid):
            read_manifest(Path(name), SandboxSettings())


def expression(data: bytes) -> None:
    """An expression of an app: its value over some names, or ExpressionError."""
    with only(ExpressionError):
        compiled = compile_expression(_text(data))
        names: dict[str, object] = dict.fromkeys(compiled.names, 3)
        json.dumps(compiled.evaluate({**names, "state": {"n": 1, "words": ["a", "b"]}, "calls": ["x"]}))


def cron(data: bytes) -> None:
    """A schedule: what is wrong with it, or its next and its last time around a change of clocks."""
    text = _text(data)
    if cron_problem(text) is not None:
        return
    for zone in (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")):
        for now in (1_774_746_000_000, 1_792_890_000_000, 0):
            following, last = next_time(text, now, zone), last_time(text, now, zone)
            if following is None or following <= now:
                raise Broken(f"the next time of {text!r} after {now} is {following}")
            if last is not None and last > now:
                raise Broken(f"the last time of {text!r} until {now} is {last}")


# --- what crosses the sandbox's wall


def frame(data: bytes) -> None:
    """A plugin's frame and its log: what is read can be written as JSON again, all else is a ProtocolError."""
    with only(ProtocolError):
        found = parse_result(data)
        json.dumps(found.model_dump(), allow_nan=False).encode()
        if found.input_required is not None:
            prompt = Prompt(prompt_id="p", plugin="x", reason="", fields=tuple(found.input_required.fields))
            with only(AnswerInvalid):
                check_answers(prompt, {one.id: one.default for one in prompt.fields})
    for record in parse_logs(data, "x"):
        json.dumps(record.model_dump(), allow_nan=False).encode()
        if any(one in record.message for one in "\n\r\x1b\u2028\u202e"):
            raise Broken(f"a log line forges another: {record.message!r}")


# --- what the store gives back


def record(data: bytes) -> None:
    """The hash of a session, as a JSON object of texts: a record, or Unreadable."""
    given = _json(data)
    stored = {str(name): text if isinstance(text, str) else json.dumps(text) for name, text in _pairs(given)}
    try:
        for text in (*stored, *stored.values()):
            text.encode()  # the server gives back what is UTF-8, or with escapes that are refused elsewhere
    except UnicodeEncodeError:
        return
    with only(Unreadable):
        decode_record(ORIGIN, stored)


def journal(data: bytes) -> None:
    """A journal, one body a line, after an optional `mark {...}`: folded, verified and forked, or Unreadable."""
    first, _, rest = data.partition(b"\n")
    lines = rest.split(b"\n") if first.startswith(b"mark ") else data.split(b"\n")
    stored = []
    with only(Unreadable):
        stored = [(number, NOW, read_body(ORIGIN, number, _text(line))) for number, line in enumerate(lines, start=1)]
    with only(Unreadable):
        rebuilt = fold(read_entry(ORIGIN, *entry) for entry in stored)
        kept = Record(session_id=ORIGIN, app="a", spec="d", phase="ready", cursor=Cursor(skill="work"))
        find_differences(kept, ["{}"], 0, rebuilt)
    with only(Unreadable):
        _fork(stored, None)
    if first.startswith(b"mark "):
        fields = {str(name): str(text) for name, text in _pairs(_json(first[5:]))}
        with only(Unreadable):
            _fork([(number + 7, at, body) for number, at, body in stored], fields)


def _fork(stored: list[tuple[int, int, JsonObject]], mark: Mapping[str, str] | None) -> None:
    before = None if mark is None else read_mark(7, mark)
    point = before if before is not None and not stored else fold_point(before, stored)
    if is_open(point):
        with only(PhaseRefused, Unreadable):
            plan_fork(point, ORIGIN, OWN, actor="ada", injected_ids=("session_id",)).record.to_json()


# --- what others send


def post(data: bytes) -> None:
    """A post and the wait that it may answer, as a JSON list of both: whatever is a Post is folded, and says so."""
    given = _json(data)
    said, asked = (given[0], given[1]) if isinstance(given, list) and len(given) > 1 else (given, None)
    try:  # as they come out of the store
        one = Post.from_json(json.dumps(said))
        wait = None if asked is None else Wait.from_json(json.dumps(asked))
    except ValidationError:
        return
    kept = Record(session_id=ORIGIN, app="a", spec="d", phase="running", cursor=Cursor(skill="start"), wait=wait)
    done = deliver(_everything(), kept, [one, one], NOW)
    if done.taken != 2:
        raise Broken(f"{done.taken} of two posts were taken")
    Record.from_json(done.record.to_json())


@cache
def _everything() -> AppSpec:
    return load_app(EVERYTHING, import_code=False)


def hook(data: bytes) -> None:
    """What a hook returned, a list being several answers: one answer, or HookResultInvalid; and what it does."""
    given = _json(data)
    results: list[HookResult] = []
    for one in given if isinstance(given, list) else [given]:
        with only(HookResultInvalid):
            results.append(parse_hook_result(one))
    with only(ValidationError):
        results.append(HookResult.from_json(data))
    for result in results:
        if HookResult.from_json(result.to_json()) != result:
            raise Broken(f"an answer does not survive JSON: {result!r}")
        plan_notice(result, "x")
        plan_question(result)
    fold_results(results, {"a": 1})


def signature(data: bytes) -> None:
    """The headers of a webhook, one a line, and its body: a fault in words, and belief only for what was signed."""
    head, _, body = data.partition(b"\n\n")
    values = [line.decode("latin-1") for line in head.split(b"\n")]
    headers = dict(zip((ID_HEADER, TIME_HEADER, SIGNATURE_HEADER), values, strict=False))
    secret = "whsec_" + b64encode(b"a secret of our own").decode()
    fault = find_fault([secret], headers, body, NOW / 1000)
    if fault is None:
        own = sign([secret], headers[ID_HEADER], int(headers[TIME_HEADER]), body)[SIGNATURE_HEADER]
        if own not in headers[SIGNATURE_HEADER].split(" "):
            raise Broken("a message that was never signed is believed")
    with only(ValueError):
        read_secret(_text(data))


def _pairs(given: object) -> list[tuple[object, object]]:
    return list(given.items()) if isinstance(given, dict) else []


TARGETS: Final[Mapping[str, Target]] = {
    target.__name__: target
    for target in (app, cron, expression, frame, hook, journal, manifest, post, record, signature)
}


def seeds(name: str) -> list[bytes]:
    """Return the corpus of a target, in a fixed order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
