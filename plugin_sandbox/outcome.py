"""What a run came to, from all that is known of it. Pure: the table of precedence, in one place.

The host's own words go before the plugin's: a run that was not possible, was cancelled or ran out of its time is that, whatever
the plugin claims. Then come the limits that bit, then rules that were broken, and only a well-formed frame together with
exit code 0 is a success. One that broke a rule and then ran out of its time is told as what broke the rule.
"""

import hashlib
import json
import signal
from typing import Final

from plugin_sandbox.inner.box import Bit, Ended
from plugin_sandbox.model import (
    Call,
    FileChange,
    IsolationReport,
    Json,
    LogRecord,
    NetworkUse,
    Outcome,
    Prompt,
    PromptField,
    ResultEntry,
    Status,
    Tier,
)
from plugin_sandbox.protocol import Frame, PerFile, ProtocolError, Question, escape

#: A limit that bit -> the status, and the manifest's name of the limit.
_BITS: Final[dict[Bit, tuple[Status, str]]] = {
    "cancelled": ("cancelled", ""),
    "wall": ("timeout", "timeout_seconds"),
    "memory": ("memory_limit", "memory_mb"),
    "cpu": ("cpu_limit", "cpu_seconds"),
    "disk": ("disk_limit", "disk_mb"),
    "processes": ("process_limit", "processes"),
    "output": ("output_limit", "result_kb"),
}
_KINDS: Final[dict[str, tuple[Status, str]]] = {
    "memory": ("memory_limit", "memory_mb"),
    "disk": ("disk_limit", "disk_mb"),
    "file": ("disk_limit", "file_mb"),
    "files": ("failed", "open_files"),
    "processes": ("process_limit", "processes"),
    "threads": ("process_limit", "threads"),
}
TIMEOUT_EXIT: Final = 124
_ERROR_CHARS: Final = 2_000
#: What a question's shapes take, here and in a session: an escape is longer than what it stands for.
_REASON_CHARS: Final = 1_000
_LABEL_CHARS: Final = 200


class AnswerInvalid(ValueError):
    """An answer does not fit its question."""


def settle(
    call: Call,
    *,
    frame: Frame | ProtocolError | None,
    ended: Ended | None,
    refused: str = "",
    changes: tuple[FileChange, ...] = (),
    violations: tuple[str, ...] = (),
    logs: tuple[LogRecord, ...] = (),
    tier: Tier | None = None,
    missing: tuple[str, ...] = (),
    network: tuple[NetworkUse, ...] = (),
    duration_ms: int = 0,
) -> Outcome:
    """Return the outcome of a call."""
    status, limit, error = _judge(frame, ended, refused, violations)
    per_file = tuple(_tell_file(one) for one in frame.per_file) if isinstance(frame, Frame) else ()
    if status == "ask" and isinstance(frame, Frame) and frame.input_required is not None:
        if len(call.answers) < call.plugin.manifest.isolation.prompts:
            return Outcome(entry=None, prompt=make_prompt(call, frame.input_required), logs=logs)
        status, limit, error = "failed", "prompts", f"it asked more than {len(call.answers)} times"
    if status == "failed" and not limit and any(one.verdict == "cut" for one in network):
        limit = "network_mb"
    published = changes if status == "success" else ()
    files = sorted({change.path for change in published}) if not violations else sorted(violations)
    if status == "success" and not files:
        status = "skipped"
    described = tuple(_described(per_file)) if call.dry_run and status == "skipped" else published
    entry = ResultEntry(
        plugin=call.plugin.manifest.name,
        version=call.plugin.manifest.version,
        files_affected=tuple(files),
        status=status,  # type: ignore[arg-type]
        isolation=IsolationReport(
            duration_ms=duration_ms,
            exit_code=_exit_code(status, ended),
            peak_memory_mb=round((ended.peak_memory_bytes if ended else 0) / 2**20, 1),
            cpu_seconds=ended.cpu_seconds if ended else 0.0,
            tier=tier,
            missing=missing,
            network=tuple(one.model_copy(update={"why": escape(one.why)}) for one in network),
        ),
        error=escape(error[:_ERROR_CHARS]) if error else None,
        violations=tuple(sorted(violations)) or None,
        limit=limit or None,
        per_file=per_file,
    )
    return Outcome(entry=entry, changes=described, logs=logs)


def _judge(
    frame: Frame | ProtocolError | None, ended: Ended | None, refused: str, violations: tuple[str, ...]
) -> tuple[str, str, str]:
    """Return status (or "ask"), the limit that bit, and the error."""
    if refused:
        return "sandbox_unavailable", "", refused
    if ended is None:
        return "cancelled", "", ""
    claimed = frame if isinstance(frame, Frame) else None
    if ended.bit in {"cancelled", "wall", "memory", "output"}:
        status, limit = _BITS[ended.bit]
        said = "timeout" if ended.bit == "wall" else ended.detail
        if violations and ended.bit == "wall":
            status = "policy_violation"  # the graver of the two; that time ran out is in error, limit and exit code
        return status, ended.limit or limit, said
    if violations:
        return "policy_violation", "", claimed.error_message or "" if claimed else ""
    if ended.bit is not None:
        status, limit = _BITS[ended.bit]
        return status, ended.limit or limit, ended.detail
    failed = claimed is None or claimed.result == "failed" or ended.exit_code != 0
    if failed and claimed is not None and claimed.error_kind is not None:
        kind, limit = _KINDS[claimed.error_kind]
        return kind, (ended.limit or limit) if claimed.error_kind == "disk" else limit, claimed.error_message or ""
    if failed and ended.disk_full:
        return _BITS["disk"][0], ended.limit or _BITS["disk"][1], claimed.error_message or "" if claimed else ""
    if failed and ended.signal == signal.SIGXFSZ:
        return (*_KINDS["file"], "")
    if failed and ended.processes_refused:
        return (*_BITS["processes"], "")
    if ended.signal:
        return "failed", "", f"it was ended by signal {ended.signal}"
    if claimed is None:
        if ended.exit_code == 0 or (isinstance(frame, ProtocolError) and ended.exit_code in {1, 2}):
            return "protocol_error", "", str(frame or "the plugin ended without an answer")
        return "failed", "", ""
    expected = {"success": 0, "failed": (1, 3), "input_required": 2}[claimed.result]
    if ended.exit_code not in (expected if isinstance(expected, tuple) else (expected,)):
        return "protocol_error", "", f"it says {claimed.result} and exits with {ended.exit_code}"
    if claimed.result == "input_required":
        return "ask", "", ""
    if claimed.result == "failed":
        return "failed", "", claimed.error_message or ""
    return "success", "", ""


def _exit_code(status: str, ended: Ended | None) -> int:
    if status == "timeout" or (status == "policy_violation" and ended is not None and ended.bit == "wall"):
        return TIMEOUT_EXIT
    return ended.exit_code if ended is not None else 3


def _tell_file(one: PerFile) -> Json:
    told = {"path": escape(one.path), "error": None if one.error is None else escape(one.error)}
    return one.model_copy(update=told).model_dump(exclude_none=True)


def _described(per_file: tuple[Json, ...]) -> list[FileChange]:
    found = []
    for one in per_file:
        for change in one.get("changes") or ():
            try:
                made = FileChange.model_validate(change)
                told = {"path": escape(made.path), "summary": escape(made.summary)}
                found.append(made.model_copy(update=told))
            except ValueError:
                continue  # a description that cannot be read describes nothing
    return found


def make_prompt(call: Call, question: Question) -> Prompt:
    """Return the prompt of a question; the same question, asked again with the same answers, has the same id."""
    asked = [one.model_dump() for one in question.fields]
    seed = json.dumps([call.plugin.manifest.name, asked, question.reason, sorted(call.answers)], sort_keys=True)
    return Prompt(
        prompt_id=hashlib.sha256(seed.encode()).hexdigest()[:16],
        plugin=call.plugin.manifest.name,
        reason=escape(question.reason)[:_REASON_CHARS],
        fields=tuple(_ask_field(one) for one in question.fields),
    )


def _ask_field(one: PromptField) -> PromptField:
    """Return a field as a person is asked for it; a default that is no answer is none."""
    default = one.default if _fits(one, one.default) else None
    return one.model_copy(update={"label": escape(one.label)[:_LABEL_CHARS], "default": default})


def check_answers(prompt: Prompt, answers: Json) -> Json:
    """Return the answers with defaults filled in; raise AnswerInvalid, naming field and remedy."""
    known = {one.id: one for one in prompt.fields}
    for name in answers:
        if name not in known:
            raise AnswerInvalid(f"answer {name!r}: not asked for; asked are {', '.join(known)}")
    made: Json = {}
    for name, one in known.items():
        value = answers.get(name, one.default)
        if value is None:
            if one.required:
                raise AnswerInvalid(f"answer {name!r}: missing; give a {one.type}")
            continue
        made[name] = _check_value(one, value)
    return made


def _fits(one: PromptField, value: object) -> bool:
    return {
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "choice": value in one.choices,
    }[one.type]


def _check_value(one: PromptField, value: object) -> object:
    if not _fits(one, value):
        wanted = f"one of {', '.join(one.choices)}" if one.type == "choice" else f"a {one.type}"
        raise AnswerInvalid(f"answer {one.id!r}: {value!r} does not fit; give {wanted}")
    return value
