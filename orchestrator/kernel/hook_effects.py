"""What a hook's answer does: the text it adds to the context, the message it shows, the question it asks.

Each action has its effects, and no others: only inject_context adds text, only ask_user asks, and
ask_user does nothing else. Limits come in as they stand in the configuration, so that a change holds
from the next answer on; None is no limit, 0 is one. A text over the size limit is refused; one over
the turn's budget is only noted, and charged.

Pure: adding, showing and asking are done by `live/processing.py` in one process, and by the workers
across several, both as these plans say. Times and sanitised texts are parameters.
"""

import operator
from datetime import datetime
from typing import Any, Final, NamedTuple

from orchestrator.contracts.errors import InjectionRefused
from orchestrator.contracts.hook_result import CONTINUE, ApprovalDefault, HookResult, InjectionRole, MessageLevel
from orchestrator.kernel.approval import DENY, is_granted
from orchestrator.kernel.hook_data import format_time
from orchestrator.kernel.redaction import truncate_for_log

#: What is asked where a hook does not say.
PROMPT: Final = "Allow this operation?"
OPTIONS: Final = ("Allow", "Deny")
#: Code points of a prompt or message that go into a log line or a reason.
LOGGED_CHARS: Final = 200
#: Code points that count as one token of the budget.
CHARS_PER_TOKEN: Final = 4

NO_APPROVAL_SYSTEM: Final = HookResult(action="deny", reason="No approval system available")
SANITISER_UNAVAILABLE: Final = "Context injection rejected: content sanitization function unavailable"


class Limits(NamedTuple):
    """What a turn's injections may come to: code points of each, tokens of all."""

    size: int | None = None
    budget: int | None = None


class Injection(NamedTuple):
    """A text that may be shown to the model; `tokens` are charged to the turn, whatever becomes of it."""

    content: str
    role: InjectionRole
    tokens: int
    is_ephemeral: bool
    is_over_budget: bool


class Notice(NamedTuple):
    """A message for the user."""

    text: str
    level: MessageLevel
    source: str


class Question(NamedTuple):
    """What a person is asked; silence for `timeout_seconds` is answered by `default`."""

    prompt: str
    options: tuple[str, ...]
    timeout_seconds: float
    default: ApprovalDefault


def read_limit(value: object) -> int | None:
    """Return a limit as configured; raise TypeError for what is no integer, OverflowError below zero.

    >>> read_limit(None), read_limit(0), read_limit(True)
    (None, 0, 1)
    """
    if value is None:
        return None
    limit = operator.index(value)  # type: ignore[arg-type]  # raises the TypeError that is wanted
    if limit < 0:
        raise OverflowError(f"injection limit: {limit} is below zero; use 0 to allow nothing, null for no limit")
    return limit


def wants_injection(result: HookResult) -> bool:
    """Say whether an answer has text for the model."""
    return result.action == "inject_context" and bool(result.context_injection)


def plan_injection(result: HookResult, content: str, limits: Limits, spent_tokens: int) -> Injection:
    """Return what a sanitised text adds to a turn that has spent so many tokens; raise InjectionRefused."""
    if limits.size is not None and len(content) > limits.size:
        raise InjectionRefused(f"Context injection exceeds {limits.size} characters")
    tokens = len(content) // CHARS_PER_TOKEN
    return Injection(
        content=content,
        role=result.context_injection_role,
        tokens=tokens,
        is_ephemeral=result.ephemeral,
        is_over_budget=limits.budget is not None and spent_tokens + tokens > limits.budget,
    )


def to_message(injection: Injection, *, hook_name: str, event: str, at: datetime) -> dict[str, Any]:
    """Return the context message of an injection, with where it came from."""
    return {
        "role": injection.role,
        "content": injection.content,
        "metadata": {"source": "hook", "hook_name": hook_name, "event": event, "timestamp": format_time(at)},
    }


def plan_notice(result: HookResult, hook_name: str) -> Notice | None:
    """Return what the user is shown, if anything; a question has its own words.

    >>> plan_notice(HookResult(user_message="done"), "audit")
    Notice(text='done', level='info', source='hook:audit')
    """
    if result.action == "ask_user" or not result.user_message:
        return None
    source = hook_name if result.user_message_source is None else result.user_message_source
    return Notice(result.user_message, result.user_message_level, f"hook:{source}")


def hides_output(result: HookResult) -> bool:
    """Say whether the hook asks to hide its output."""
    return result.suppress_output and result.action != "ask_user"


def plan_question(result: HookResult) -> Question | None:
    """Return what a person is asked, if anything; an empty prompt and no options are kept as they are."""
    if result.action != "ask_user":
        return None
    return Question(
        prompt=PROMPT if result.approval_prompt is None else result.approval_prompt,
        options=OPTIONS if result.approval_options is None else tuple(result.approval_options),
        timeout_seconds=float(result.approval_timeout),
        default=result.approval_default,
    )


def is_expected(reply: str) -> bool:
    """Say whether a reply is one of the words that answer a question; all others deny too, but are odd."""
    return is_granted(reply) or reply.lower() == DENY


def choose_verdict(question: Question, reply: str) -> HookResult:
    """Return what a reply comes to; the options that were offered do not matter.

    What was asked is not carried over: neither the hook's reason nor its data.

    >>> ask = Question("Delete it?", ("Yes", "No"), 5.0, "allow")
    >>> choose_verdict(ask, "Allow once").action, choose_verdict(ask, "Yes").reason
    ('continue', 'User denied: Delete it?')
    """
    return CONTINUE if is_granted(reply) else _deny(f"User denied: {_shorten(question.prompt)}")


def choose_verdict_on_timeout(question: Question) -> HookResult:
    """Return what silence comes to: the question's default."""
    if is_granted(question.default):
        return CONTINUE
    return _deny(f"Approval timeout - denied by default: {_shorten(question.prompt)}")


def _deny(reason: str) -> HookResult:
    return HookResult(action="deny", reason=reason)


def _shorten(text: str) -> str:
    return truncate_for_log(text, LOGGED_CHARS)
