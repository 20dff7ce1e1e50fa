"""A hook's question, asked of a person without holding a worker: the wait for it, and what its answer leaves.

The step that a hook interrupts is committed as a wait for an approval, bound to what was shown: the call with its arguments,
or the event with its question. The answer, or the deadline, is written into the session's memory; the step that comes next
finds it there and goes on from that very point. Pure; calling the hooks is the workers' work.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.hook_result import HookResult
from orchestrator.contracts.hooks import HookSpec, QuestionVerdict
from orchestrator.contracts.session import PendingCall, Record, Wait, args_digest
from orchestrator.kernel.approval import is_granted
from orchestrator.kernel.hook_effects import LOGGED_CHARS, plan_question
from orchestrator.kernel.redaction import truncate_for_log
from orchestrator.kernel.retry import LONGEST_RETRY_SECONDS

#: Characters of a question that a record keeps, and options that it offers.
PROMPT_CHARS: Final = 4_000
MOST_OPTIONS: Final = 16
OPTION_CHARS: Final = 80


def question_digest(event: str, prompt: str, options: Sequence[str]) -> str:
    """Name exactly this question of an event that is no call: what its answer is bound to."""
    return args_digest(event, {"prompt": prompt, "options": list(options)})


def hook_wait(
    spec: AppSpec,
    record: Record,
    result: HookResult,
    listener: HookSpec,
    *,
    event: str,
    call: PendingCall | None,
    now: int,
) -> Wait:
    """Return the wait for the answer to a hook's question; a time limit below zero is over at once."""
    question = plan_question(result)
    if question is None:
        raise ValueError(f"hook {listener.label!r}: {result.action} asks nothing; this is a defect, report it")
    prompt = question.prompt[:PROMPT_CHARS]
    options = tuple(option[:OPTION_CHARS] for option in question.options[:MOST_OPTIONS])
    seconds = min(max(question.timeout_seconds, 0.0), LONGEST_RETRY_SECONDS)
    gateway = spec.gateway
    return Wait(
        wait_id=f"{record.session_id}/hook-{record.cursor.serial}",
        kind="approval",
        since_at=now,
        deadline_at=now + int(seconds * 1000),
        prompt=prompt,
        options=options,
        roster=listener.approvers or (gateway.approvers if gateway is not None else ()),
        call=call,
        digest=question_digest(event, prompt, options) if call is None else args_digest(call.tool, call.args),
        hook=listener.label,
        default=question.default,
        reason=event,
    )


def answer_question(record: Record, verdict: QuestionVerdict, *, actor: str, rationale: str) -> Record:
    """Return the record whose open question has its answer; it waits no longer."""
    hooks = record.hooks
    if hooks is None or hooks.asked is None:
        return record.model_copy(update={"wait": None})
    asked = hooks.asked.model_copy(update={"verdict": verdict, "actor": actor, "rationale": rationale})
    return record.model_copy(update={"wait": None, "hooks": hooks.model_copy(update={"asked": asked})})


def silence_of(wait: Wait) -> QuestionVerdict:
    """Return what nobody's answer comes to: the question's default.

    >>> silence_of(Wait(wait_id="w", kind="approval", hook="h"))
    'expired'
    """
    return "allowed" if is_granted(wait.default) else "expired"


def denial_reason(prompt: str, verdict: QuestionVerdict) -> str:
    """Return why something is denied whose question was not answered by a granting word.

    >>> denial_reason("Delete it?", "denied"), denial_reason("Delete it?", "expired")
    ('User denied: Delete it?', 'Approval timeout - denied by default: Delete it?')
    """
    said = "User denied" if verdict == "denied" else "Approval timeout - denied by default"
    return f"{said}: {truncate_for_log(prompt, LOGGED_CHARS)}"
