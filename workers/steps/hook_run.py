"""What hooks do to one step: gates that may stop it, change it or let it ask, and events that only tell.

A HookRun lives for one step. It calls the hooks (workers/hooks.py), does what they answer by the rules of
orchestrator/kernel/hook_effects.py, and at the end puts what it gathered into the step's one commit: the session's memory,
messages for the context, and a note for the journal of everything that a hook did.

    gate   deny stops what the event is about, modify changes its subject, ask_user makes the session wait
    tell   only texts and messages of hooks have an effect; whatever else they answer is noted, and does nothing

A durable text is put where no tool call is open: before the words of this step, or else in the session's memory until all
calls have their results. Where hooks are told of what is decided in hook_events.py and in the steps themselves.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import InjectionRefused
from orchestrator.contracts.event_names import (
    APPROVAL_REQUIRED,
    POLICY_VIOLATION,
    PROMPT_SUBMIT,
    PROVIDER_REQUEST,
    PROVIDER_RESPONSE,
    TOOL_POST,
    TOOL_PRE,
    USER_NOTIFICATION,
)
from orchestrator.contracts.hook_result import HookResult
from orchestrator.contracts.hooks import MOST_KEPT_TEXTS, Asked, Ephemeral, HookMemory, memory_of
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import PendingCall, Record, StepKind, Wait
from orchestrator.kernel.change import Change, suspend
from orchestrator.kernel.grants import find_grant, hook_asker
from orchestrator.kernel.hook_effects import Limits, plan_injection, plan_notice, wants_injection
from orchestrator.kernel.hook_questions import denial_reason, hook_wait
from orchestrator.kernel.redaction import truncate_for_log, truncate_values
from orchestrator.kernel.sanitise import sanitise_for_model
from workers.hooks import Answer, HookBook, Told

#: Notes of one step that the journal keeps, and characters of what each quotes.
MOST_NOTES: Final = 100
NOTE_CHARS: Final = 500
QUOTED_CHARS: Final = 4_000


#: Events that hooks may stop; at every other one they only add.
GATES: Final = frozenset({PROMPT_SUBMIT, PROVIDER_REQUEST, PROVIDER_RESPONSE, TOOL_PRE, TOOL_POST, APPROVAL_REQUIRED})


class Go(NamedTuple):
    """Go on; `value` is what hooks put in place of the event's subject, where `is_changed`."""

    is_changed: bool = False
    value: JsonValue = None


class Refused(NamedTuple):
    """A hook denies it, or a person, or the time, on a hook's question; `reason` is what the model may be told."""

    hook: str
    reason: str


class Asking(NamedTuple):
    """A hook asks a person: the step ends here, with this wait."""

    wait: Wait


Verdict: TypeAlias = Go | Refused | Asking
GO: Final = Go()


class HookRun:
    """One step's hooks.

    `memory` is the session's, as the step has left it so far; `before` are messages that go before the step's own, `calls`
    the calls in line as hooks left them. `failure` is the error by which the step failed. `is_begun`: a step is
    performed, and not only looked at.
    """

    def __init__(self, book: HookBook, spec: AppSpec, stored: Record, record: Record, now: Callable[[], int]) -> None:
        self.book = book
        self.spec = spec
        self.stored = stored
        self.memory: HookMemory = memory_of(record.hooks)
        self.before: list[Message] = []
        self.calls: tuple[PendingCall, ...] | None = None
        self.failure: Exception | None = None
        self.is_begun = False
        self.has_open_calls = bool(record.cursor.calls)
        self._record = record
        self._now = now
        self._defaults: JsonObject = {"session_id": record.session_id, "parent_id": record.parent}
        self._limits = Limits(spec.hook_limits.injection_size_limit, spec.hook_limits.injection_budget_per_turn)
        self._notes: list[JsonValue] = []
        self._suffixes: dict[str, list[Message]] = {}
        self._is_interrupted = False

    def hears(self, *events: str) -> bool:
        """Say whether anybody listens to one of these events."""
        return self.book.hears(*events)

    def keep(self, **changes: object) -> None:
        """Change what the session keeps."""
        self.memory = self.memory.model_copy(update=changes)

    def note(self, event: str, hook: str, action: str, **more: JsonValue) -> None:
        """Leave a line for the journal."""
        if len(self._notes) < MOST_NOTES:
            self._notes.append({"event": event, "hook": hook, "action": action, **more})

    # --- telling

    async def tell(self, event: str, data: JsonObject, *, call_id: str = "") -> None:
        """Tell an event that stops nothing."""
        if not self.hears(event):
            return
        told = await self.book.emit(event, data, self._defaults)
        await self._take(event, told, call_id)
        for answer in told.answers:
            if answer.result is not None and answer.result.action in {"deny", "ask_user", "modify"}:
                self.note(event, answer.listener.label, answer.result.action, ignored=True)

    async def gate(
        self,
        event: str,
        data: JsonObject,
        *,
        record: Record,
        subject: str = "",
        point: str = "",
        call: PendingCall | None = None,
        may_ask: bool = True,
    ) -> Verdict:
        """Tell an event that hooks may stop; a point that is behind an interrupted step is not come to again.

        `subject` names the part of the data that `modify` may change, and whose kind it has to keep. `call` is the
        tool call that it is about.
        """
        if not self.hears(event):
            return GO
        point = point or event
        asked = self.memory.asked
        if asked is not None and asked.point == point and asked.verdict is not None:
            return await self._settle(asked)
        if point in self.memory.passed:
            return GO
        told = await self.book.emit(event, data, self._defaults)
        refused = await self._take(event, told, call.call_id if call is not None and call.done is not None else "")
        if told.denied is not None and told.denied.result is not None:
            refused = Refused(told.denied.listener.label, told.denied.result.reason or "denied by a hook")
        go = GO
        if refused is None and told.data is not None:
            changed = _changed(told, data, subject)
            if isinstance(changed, Refused):
                refused = changed
            else:
                go = changed
        if refused is not None:
            return await self._refuse(event, refused)
        if go.is_changed:
            before, after = _quote(data.get(subject)), _quote(go.value)
            self.note(event, ", ".join(told.changed_by), "modify", at=point, before=before, after=after)
        if told.asked is not None and not may_ask:
            self.note(event, told.asked.listener.label, "ask_user", ignored=True)
        elif told.asked is not None:
            wait = await self._ask(event, point, told.asked, go, call, record)
            if wait is not None:
                return Asking(wait)
        self.keep(passed=(*self.memory.passed, point))
        return go

    async def _ask(
        self, event: str, point: str, answer: Answer, go: Go, call: PendingCall | None, record: Record
    ) -> Wait | None:
        """Return the wait for a hook's question, or None where the call was allowed for good."""
        hook, result = answer.listener, answer.result
        shown = call
        if call is not None and go.is_changed and isinstance(go.value, dict) and not call.done:
            shown = call.model_copy(update={"args": go.value})
        if shown is not None:
            grant = find_grant(self.memory, hook_asker(hook.label, event), shown)
            if grant is not None:
                self.note(event, hook.label, "ask_user", call=shown.call_id, allowed="always", by=grant.actor)
                return None
        wait = hook_wait(self.spec, record, result or HookResult(), hook.spec, event=event, call=shown, now=self._now())
        self.note(event, hook.label, "ask_user", prompt=truncate_for_log(wait.prompt, NOTE_CHARS), wait=wait.wait_id)
        self.keep(
            asked=Asked(
                point=point,
                event=event,
                hook=hook.label,
                prompt=truncate_for_log(wait.prompt, NOTE_CHARS),
                is_changed=go.is_changed,
                value=go.value,
            )
        )
        await self.tell(
            APPROVAL_REQUIRED,
            {
                "hook": hook.label,
                "about": event,
                "prompt": wait.prompt,
                "options": list(wait.options),
                "tool_name": shown.tool if shown is not None else None,
                "tool_input": shown.args if shown is not None else None,
                "deadline_at": wait.deadline_at,
            },
        )
        return wait

    async def _settle(self, asked: Asked) -> Verdict:
        """Return what a person's answer, or the time, makes of the point at which a hook asked."""
        self.keep(asked=None, passed=(*self.memory.passed, asked.point))
        if asked.verdict == "allowed":
            self.note(asked.event, asked.hook, "ask_user", answered="allowed", by=asked.actor)
            return Go(is_changed=asked.is_changed, value=asked.value)
        reason = denial_reason(asked.prompt, asked.verdict or "denied")
        if asked.rationale and asked.verdict == "denied":
            reason = f"{reason} ({truncate_for_log(asked.rationale, NOTE_CHARS)})"
        return await self._refuse(asked.event, Refused(asked.hook, reason))

    async def _refuse(self, event: str, refused: Refused) -> Refused:
        reason = truncate_for_log(refused.reason, NOTE_CHARS)
        self.note(event, refused.hook, "deny", reason=reason)
        if event != POLICY_VIOLATION:
            await self.tell(POLICY_VIOLATION, {"event": event, "hook": refused.hook, "reason": reason})
        return Refused(refused.hook, reason)

    # --- what answers add

    async def _take(self, event: str, told: Told, call_id: str) -> Refused | None:
        """Do what answers do beside stopping and changing; return a denial where a critical hook's text is refused."""
        refused = None
        for answer in told.answers:
            label, result = answer.listener.label, answer.result
            if answer.failure:
                self.note(event, label, "failed", error=answer.failure, critical=answer.listener.spec.critical)
            if result is None:
                continue
            notice = plan_notice(result, label)
            if notice is not None:
                text = truncate_for_log(notice.text, NOTE_CHARS)
                self.note(event, label, "message", text=text, level=notice.level, source=notice.source)
                if event != USER_NOTIFICATION:
                    body: JsonObject = {"message": text, "level": notice.level, "source": notice.source}
                    await self.tell(USER_NOTIFICATION, body)
            if told.denied is not None or not wants_injection(result):
                continue  # what is denied does not happen: no text about it either
            problem = self._inject(event, label, result, call_id)
            if problem:
                self.note(event, label, "inject_context", refused=problem)
                if answer.listener.spec.critical and refused is None:
                    refused = Refused(label, problem)
        return refused

    def _inject(self, event: str, label: str, result: HookResult, call_id: str) -> str:
        """Show a text to the model; return why not, where it is refused."""
        content = sanitise_for_model(result.context_injection or "")
        if not content:
            return ""
        memory = self.memory
        try:
            injection = plan_injection(result, content, self._limits, memory.spent)
        except InjectionRefused as error:
            return str(error)
        if len(memory.ephemeral) + len(memory.pending) >= MOST_KEPT_TEXTS:
            return f"Context injection rejected: {MOST_KEPT_TEXTS} texts wait for a model call already"
        self.keep(spent=memory.spent + injection.tokens)
        told: JsonObject = {"chars": len(content), "role": injection.role, "tokens": injection.tokens}
        if injection.is_ephemeral:
            one = Ephemeral(role=injection.role, content=content, append=result.append_to_last_tool_result)
            self.keep(ephemeral=(*memory.ephemeral, one))
            told["ephemeral"] = True
        else:
            source, skill = hook_asker(label, event), self._record.cursor.skill
            self._place(Message(role=injection.role, content=content, skill=skill, source=source), result, call_id)
        if injection.is_over_budget:
            told["over_budget"] = self._limits.budget
        self.note(event, label, "inject_context", **told)
        return ""

    def _place(self, message: Message, result: HookResult, call_id: str) -> None:
        """Put a durable text where it can stand: at a tool's result, before the step's own words, or after all results."""
        if result.append_to_last_tool_result and call_id:
            self._suffixes.setdefault(call_id, []).append(message)
        elif self.has_open_calls:
            self.keep(pending=(*self.memory.pending, message))
        else:
            self.before.append(message)

    # --- into the commit

    def suspend(self, record: Record, wait: Wait, step: StepKind, *, event: str) -> Change:
        """Return the change that lets the session wait for the answer to a hook's question."""
        self._is_interrupted = True
        call = wait.call.call_id if wait.call is not None else None
        return suspend(record, wait, step, data={"wait": "approval", "hook": wait.hook, "event": event, "call": call})

    def seal(self, change: Change) -> Change:
        """Return the change with all that the hooks of this step left."""
        record = change.record
        if self.failure is not None and self.calls is not None and record.cursor.calls:
            record = record.model_copy(update={"cursor": record.cursor.model_copy(update={"calls": self.calls})})
        wait = record.wait
        is_held_back = wait is not None and wait.kind == "limit"
        is_again = self._is_interrupted or self.failure is not None or change.step == "compact" or is_held_back
        is_open = is_again and change.directive not in {"finalizing", "ended"}
        if not is_open and (self.memory.passed or self.memory.kept or self.memory.asked is not None):
            self.keep(passed=(), kept={}, asked=None)
        messages = tuple(self._with_suffix(message) for message in change.messages)
        for added in self._suffixes.values():  # of calls whose result is not told yet, or not any more
            self.keep(pending=(*self.memory.pending, *added))
        if self.memory.pending and not record.cursor.calls:
            messages = (*messages, *self.memory.pending)
            self.keep(pending=())
        if self.before:
            messages = (*self.before, *messages)
        if self.memory is not memory_of(record.hooks):
            record = record.model_copy(update={"hooks": self.memory})
        if self._notes:
            change = change._replace(data={**change.data, "hooks": self._notes})
        return change._replace(record=record, messages=messages)

    def _with_suffix(self, message: Message) -> Message:
        added = self._suffixes.pop(message.call_id or "", None) if message.role == "tool" else None
        if not added:
            return message
        return message.model_copy(update={"content": "\n\n".join((message.content, *(one.content for one in added)))})


def begin_hooks(
    book: HookBook | None, spec: AppSpec, stored: Record, record: Record, now: Callable[[], int]
) -> HookRun | None:
    """Return a step's hooks, None where the app declares none. `stored` is the session before its posts were folded in."""
    return None if book is None else HookRun(book, spec, stored, record, now)


def _changed(told: Told, data: JsonObject, subject: str) -> Go | Refused:
    """Return what hooks put in place of the subject; data in which it has no place, or another kind, denies."""
    who = ", ".join(told.changed_by)
    found = told.data or {}
    if not subject:
        return GO
    if subject not in found:
        return Refused(who, f"hook {who}: the changed data lacks {subject!r}")
    value, given = found[subject], data.get(subject)
    if given is not None and subject != "tool_result" and type(value) is not type(given):
        return Refused(who, f"hook {who}: {subject!r} became {type(value).__name__}")
    return GO if value == given else Go(is_changed=True, value=value)


def _quote(value: JsonValue) -> JsonValue:
    """Return a value as the journal quotes it: whole where it is short."""
    if len(dump_json(value)) <= QUOTED_CHARS:
        return value
    cut: JsonValue = truncate_values(value)
    return cut if len(dump_json(cut)) <= QUOTED_CHARS else truncate_for_log(dump_json(cut), QUOTED_CHARS)
