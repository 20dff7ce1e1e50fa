"""Do what a hook's answer says: show its text to the model, its message to the user, its question to a person.

The order is fixed. What the answer holds and the limits are read first; then, without a pause, the
injection is checked and charged and the message is shown; then the context gets its text; last, and
only for ask_user, somebody is asked. What each step means is decided by `kernel/hook_effects.py`.

Time limits of an approval are its system's own: nothing here ends the waiting. Sessions that must not
hold a worker while they wait use the same plans through the store.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from inspect import isawaitable
from types import UnionType
from typing import Any, Final, Protocol, TypeVar, cast

from orchestrator.contracts.errors import ApprovalTimeoutError, InjectionRefused
from orchestrator.contracts.hook_result import HookResult
from orchestrator.contracts.ports import ApprovalSystem, DisplaySystem
from orchestrator.kernel.hook_effects import (
    LOGGED_CHARS,
    NO_APPROVAL_SYSTEM,
    SANITISER_UNAVAILABLE,
    Injection,
    Limits,
    Question,
    choose_verdict,
    choose_verdict_on_timeout,
    hides_output,
    is_expected,
    plan_injection,
    plan_notice,
    plan_question,
    read_limit,
    to_message,
    wants_injection,
)
from orchestrator.kernel.live.guard import guarded
from orchestrator.kernel.live.hooks import utc_now
from orchestrator.kernel.redaction import truncate_for_log
from orchestrator.kernel.sanitise import sanitise_for_model

logger = logging.getLogger(__name__)

#: What is read of an answer before anything is done, and what it has to be. A HookResult always is; an object
#: that only has its attributes is read with the same strictness, except that words may be any.
_READ: Final[dict[str, type | UnionType]] = {
    "action": str,
    "context_injection": str | None,
    "context_injection_role": str,
    "ephemeral": bool,
    "suppress_output": bool,
    "user_message": str | None,
    "user_message_level": str,
    "user_message_source": str | None,
    "approval_prompt": str | None,
    "approval_options": list | None,
    "approval_timeout": float | int,
    "approval_default": str,
}
ResultT = TypeVar("ResultT")


class HookHost(Protocol):
    """What processing needs of the world that a hook's answer acts on; a coordinator is one."""

    #: Tokens that this turn's injections have taken. Only the owner of the turn sets it back to 0.
    current_turn_injections: int

    @property
    def injection_size_limit(self) -> object:
        """Code points that one injection may have; read anew for each answer. None is no limit."""
        ...

    @property
    def injection_budget_per_turn(self) -> object:
        """Tokens after which a turn's injections are worth a warning; read anew. None is no limit."""
        ...

    @property
    def approval_system(self) -> ApprovalSystem | None:
        """Where questions go, if anywhere."""
        ...

    @property
    def display_system(self) -> DisplaySystem | None:
        """Where messages go, if anywhere."""
        ...

    def get(self, mount_point: str, /) -> Any:
        """Return what is mounted there, None where nothing is; "context" is asked for."""
        ...


async def process_hook_result(
    host: HookHost,
    result: ResultT,
    event: str,
    hook_name: str = "unknown",
    *,
    sanitise: Callable[[str], str] = sanitise_for_model,
    clock: Callable[[], datetime] = utc_now,
) -> ResultT | HookResult:
    """Do what an answer says; return the answer itself, or for a question what was decided: continue or deny.

    `result` is a HookResult, or anything that has its attributes; else AttributeError or TypeError. Raise
    InjectionRefused (a ValueError) for a text that is too long or cannot be sanitised, TypeError or OverflowError
    for a limit that is none, TypeError for a reply that is no text, and whatever the context or the approval
    system raise, except ApprovalTimeoutError: then the question's default decides. A caller takes every
    error for a denial.
    """
    answer = _check(result)
    limits = Limits(read_limit(host.injection_size_limit), read_limit(host.injection_budget_per_turn))
    injection = _inject(host, answer, event, hook_name, limits, sanitise)
    _show(host, answer, hook_name)
    if injection is not None and not injection.is_ephemeral:
        await _store(host, to_message(injection, hook_name=hook_name, event=event, at=clock()))
    question = plan_question(answer)
    return result if question is None else await _ask(host, question, hook_name)


def _check(result: object) -> HookResult:
    """Return the answer as what it is, or can stand for."""
    for name, kind in _READ.items():
        value = getattr(result, name)
        if not isinstance(value, kind):
            raise TypeError(f"hook result: {name} is {type(value).__name__}; give what HookResult has there")
    return cast("HookResult", result)


def _inject(
    host: HookHost, answer: HookResult, event: str, hook_name: str, limits: Limits, sanitise: Callable[[str], str]
) -> Injection | None:
    """Check and charge an injection. It is charged even if nothing can store it: the model may see it all the same."""
    if not wants_injection(answer):
        return None
    content = _sanitise(answer.context_injection or "", hook_name, sanitise)
    spent = host.current_turn_injections
    try:
        injection = plan_injection(answer, content, limits, spent)
    except InjectionRefused:
        logger.error("Hook injection too large: %s (chars=%d, limit=%s)", hook_name, len(content), limits.size)  # noqa: TRY400 - the refusal goes on to the caller
        raise
    if injection.is_over_budget:
        logger.warning(
            "Warning: Hook injection budget exceeded (hook=%s, current=%d, attempted=%d, budget=%s)",
            hook_name,
            spent,
            injection.tokens,
            limits.budget,
        )
    host.current_turn_injections = spent + injection.tokens
    logger.info(
        "Hook context injection (hook=%s, event=%s, chars=%d, role=%s, tokens=%d, ephemeral=%s)",
        hook_name,
        event,
        len(content),
        injection.role,
        injection.tokens,
        str(injection.is_ephemeral).lower(),
    )
    return injection


def _sanitise(text: str, hook_name: str, sanitise: Callable[[str], str]) -> str:
    """Return the sanitised text; a sanitiser that fails, or gives no text, lets nothing through."""
    content: object = None

    def record(error: BaseException) -> None:
        logger.error("Sanitising for hook '%s' failed: %s: %s", hook_name, type(error).__name__, error)

    with guarded(record):
        content = sanitise(text)
    if not isinstance(content, str):
        logger.error("SECURITY: Sanitization unavailable for hook '%s' — rejecting injection", hook_name)
        raise InjectionRefused(SANITISER_UNAVAILABLE)
    return content


def _show(host: HookHost, answer: HookResult, hook_name: str) -> None:
    """Show an answer's message. A display that fails loses the message, never the answer."""
    notice = plan_notice(answer, hook_name)
    if notice is not None:
        if host.display_system is None:
            shown = truncate_for_log(notice.text, LOGGED_CHARS)
            logger.debug("Hook message (%s): %s (hook=%s)", notice.level, shown, hook_name)
        else:
            with guarded(
                lambda error: logger.error("Error calling display_system: %s: %s", type(error).__name__, error)
            ):
                host.display_system.show_message(notice.text, notice.level, notice.source)
    if hides_output(answer):
        logger.debug("Hook '%s' requested output suppression", hook_name)


async def _store(host: HookHost, message: dict[str, Any]) -> None:
    """Add a message to the context, where there is one that takes messages."""
    add_message = getattr(host.get("context"), "add_message", None)
    if add_message is not None:
        added = add_message(message)
        if isawaitable(added):
            await added


async def _ask(host: HookHost, question: Question, hook_name: str) -> HookResult:
    """Ask, and return what the answer comes to."""
    logger.info(
        "Approval requested (hook=%s, prompt=%s, timeout=%g, default=%s)",
        hook_name,
        truncate_for_log(question.prompt, LOGGED_CHARS),
        question.timeout_seconds,
        question.default,
    )
    if host.approval_system is None:
        logger.error("Approval requested but no approval system provided (hook=%s)", hook_name)
        return NO_APPROVAL_SYSTEM
    try:
        reply = host.approval_system.request_approval(
            question.prompt, list(question.options), question.timeout_seconds, question.default
        )
        if isawaitable(reply):
            reply = await reply
    except ApprovalTimeoutError:
        logger.warning("Approval timeout (hook=%s, default=%s)", hook_name, question.default)
        return choose_verdict_on_timeout(question)
    if not isinstance(reply, str):
        raise TypeError(f"approval of hook {hook_name!r}: {reply!r} is no text; an approval system answers with a word")
    logger.info("Approval decision (hook=%s, decision=%s)", hook_name, reply)
    if not is_expected(reply):
        logger.warning(
            "Approval system returned unexpected decision '%s' for hook '%s' — treating as deny (fail-closed)",
            reply,
            hook_name,
        )
    return choose_verdict(question, reply)
