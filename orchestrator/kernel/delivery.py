"""Decide what the posts in a mailbox, and the time, do to a session before its next step.

Posts are folded in their order. One that answers the wait resolves it; one that does not is
noted and dropped, and the wait goes on. A deadline counts only where no answer came before it.
Pure: `now` is the store's time, and taking the posts off the mailbox is the commit's work.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, assert_never

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.hooks import QuestionVerdict
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import PendingCall, Post, Record, Wait
from orchestrator.kernel.advance import enter
from orchestrator.kernel.answers import EscalateTo, Refused, Resume, Stop, plan_answer
from orchestrator.kernel.approval import Denied, Granted, check_binding, check_decision
from orchestrator.kernel.cancelling import may_stop, stopped
from orchestrator.kernel.children import fold_child
from orchestrator.kernel.grants import is_always, remember
from orchestrator.kernel.hook_questions import answer_question, silence_of
from orchestrator.kernel.plugin_pass import place_of
from orchestrator.kernel.prompts import read_answer
from orchestrator.kernel.tool_questions import with_answers

#: Signals kept that nobody waits for yet.
KEPT_SIGNALS = 32

#: What a person may say of a call whose outcome is unknown.
UNCERTAIN_OPTIONS = ("retry", "happened", "failed")


class Delivery(NamedTuple):
    """The session after its posts: the record, messages for the context, and notes for the journal."""

    record: Record
    messages: tuple[Message, ...] = ()
    notes: tuple[JsonObject, ...] = ()
    taken: int = 0

    def note(self, post: Post, what: str, **more: JsonValue) -> "Delivery":
        """Return the delivery with a line about a post."""
        line: JsonObject = {"post": post.post_id, "kind": post.kind, "actor": post.actor, "what": what, **more}
        return self._replace(notes=(*self.notes, line))


def deliver(spec: AppSpec, record: Record, posts: Sequence[Post], now: int) -> Delivery:
    """Fold the posts into the session, then the deadline of what it still waits for."""
    delivery = Delivery(record)
    for post in posts:
        delivery = _fold(spec, delivery, post, now)._replace(taken=delivery.taken + 1)
    wait = delivery.record.wait
    if wait is not None and wait is record.wait and record.answered:  # what was accepted as its answer was none
        delivery = _again(delivery, wait)
    if wait is not None and wait.deadline_at is not None and wait.deadline_at <= now:
        delivery = _fold_deadline(delivery, wait)
    return delivery


def _fold(spec: AppSpec, delivery: Delivery, post: Post, now: int) -> Delivery:
    record = delivery.record
    if post.kind == "cancel" and may_stop(record, immediate=post.immediate):
        after = stopped(record, "cancelled", post.text or "cancelled", immediate=post.immediate)
        return delivery._replace(record=after).note(post, "cancelled")
    if post.kind == "cancel" and record.cursor.stop == "cancelled":
        after = record.model_copy(update={"cancel_immediate": record.cancel_immediate or post.immediate})
        return delivery._replace(record=after).note(post, "cancelled already")
    wait = record.wait
    is_handed_over = record.cursor.stop == "escalated" and wait is not None  # and yet something is asked about the call
    if record.cursor.stage == "end" or (record.cursor.stop is not None and not is_handed_over):
        return delivery.note(post, "ignored: the session's work is done")
    if post.kind == "signal":
        return _fold_signal(delivery, post, wait)
    if wait is None:
        return delivery.note(post, "ignored: the session waits for nothing")
    if post.kind == "child_ended":
        return delivery._replace(record=fold_child(record, wait, post.name, post.value))
    if wait.gate:
        return _fold_gate(spec, delivery, post, wait)
    if wait.kind == "approval":
        return _fold_approval(delivery, post, wait, now)
    if wait.kind == "uncertain":
        return _fold_uncertain(delivery, post, wait)
    if wait.prompt_id and wait.call is not None:
        return _fold_tool_question(delivery, post, wait)
    if wait.prompt_id:
        return _fold_prompt(delivery, post, wait)
    if wait.kind == "input" and post.kind == "input":
        return _fold_input(delivery, post, wait)
    return delivery.note(post, f"ignored: the session waits for {wait.kind}")


def _resolved(record: Record, **cursor: object) -> Record:
    changed = record.cursor.model_copy(update=cursor) if cursor else record.cursor
    return record.model_copy(update={"cursor": changed, "wait": None})


def _fold_signal(delivery: Delivery, post: Post, wait: Wait | None) -> Delivery:
    record = delivery.record
    if wait is not None and wait.signal == post.name:
        resolved = _resolved(record, stage="route")
        return delivery._replace(record=resolved).note(post, "signalled")
    kept = (*record.cursor.signals, post.name)
    cursor = record.cursor.model_copy(update={"signals": kept[-KEPT_SIGNALS:]})
    after = delivery._replace(record=record.model_copy(update={"cursor": cursor}))
    if len(kept) > KEPT_SIGNALS:  # nobody waits for them: the journal says which one went
        return after.note(post, "kept for later", dropped=kept[0])
    return after.note(post, "kept for later")


def _fold_gate(spec: AppSpec, delivery: Delivery, post: Post, wait: Wait) -> Delivery:
    record = delivery.record
    plan = plan_answer(spec, wait, post)
    match plan:
        case Refused(reason=reason):
            return _again(delivery, wait).note(post, f"refused: {reason}")
        case Stop():
            return delivery._replace(record=stopped(record, "stopped", f"stopped by {post.actor}")).note(
                post, "stopped"
            )
        case EscalateTo(team=team):
            reason = f"escalated by {post.actor}"
            cursor = record.cursor.model_copy(
                update={"stage": "tools", "calls": (), "stop": "escalated", "stop_reason": reason}
            )
            state = {"escalated": {"team": team, "by": post.actor, "reason": post.text}}
            after = record.model_copy(update={"cursor": cursor, "wait": None, "fields": {**record.fields, **state}})
            return delivery._replace(record=after).note(post, "escalated", team=team)
        case Resume(text=text, value=value):
            said = text or (value if isinstance(value, str) else dump_json(value))
            message = Message(role="user", content=said, skill=wait.target or record.cursor.skill)
            cursor = enter(record, wait.target or record.cursor.skill)
            after = record.model_copy(update={"cursor": cursor, "wait": None})
            return delivery._replace(record=after, messages=(*delivery.messages, message)).note(post, "resumed")
        case _:
            assert_never(plan)


def _again(delivery: Delivery, wait: Wait) -> Delivery:
    """Wait again for a real answer: a new copy of the wait also makes the store accept one."""
    return delivery._replace(record=delivery.record.model_copy(update={"wait": wait.model_copy()}))


def _fold_approval(delivery: Delivery, post: Post, wait: Wait, now: int) -> Delivery:
    record = delivery.record
    if post.kind != "decision":
        return delivery.note(post, "ignored: the session waits for an approval")
    decision = check_decision(wait, post)
    if isinstance(decision, Granted):
        more: dict[str, JsonValue] = {}
        if is_always(post.verdict):
            hooks, remembered = remember(record.hooks, wait, decision.actor, now)
            record, more = record.model_copy(update={"hooks": hooks}), {"remembered": remembered}
        after = _judge(record, wait, verdict="approved", approver=decision.actor, rationale=decision.rationale)
        return delivery._replace(record=after).note(post, "approved", **more)
    if isinstance(decision, Denied):
        rationale = decision.rationale or decision.reason
        after = _judge(record, wait, verdict="rejected", approver=decision.actor, rationale=rationale)
        return delivery._replace(record=after).note(post, "rejected")
    return _again(delivery, wait).note(post, f"refused: {decision.reason}")


def _judge(
    record: Record, wait: Wait, *, verdict: Literal["approved", "rejected", "timeout"], approver: str, rationale: str
) -> Record:
    """Write a verdict on the call in question, and on no other; on a hook's question for the step that asked it."""
    if wait.hook:
        said: QuestionVerdict = "allowed" if verdict == "approved" else "denied"
        if verdict == "timeout":
            said = silence_of(wait)
        return answer_question(record, said, actor=approver, rationale=rationale)
    asked = wait.call.call_id if wait.call is not None else ""
    judged: dict[str, str] = {"verdict": verdict, "approver": approver, "rationale": rationale}
    calls = tuple(call.model_copy(update=judged) if call.call_id == asked else call for call in record.cursor.calls)
    return _resolved(record, calls=calls)


def _fold_uncertain(delivery: Delivery, post: Post, wait: Wait) -> Delivery:
    """`retry` runs the call again, `happened` and `failed` record what the person found out."""
    record = delivery.record
    if post.kind != "decision" or wait.call is None or check_binding(wait, post) is not None:
        return _again(delivery, wait).note(post, "refused: it does not answer this question")
    if post.verdict not in UNCERTAIN_OPTIONS:
        return _again(delivery, wait).note(post, f"refused: say one of {', '.join(UNCERTAIN_OPTIONS)}")
    settled = wait.call.model_copy(
        update={"resolution": post.verdict, "approver": post.actor, "rationale": post.text or None}
    )
    calls: list[PendingCall] = [settled if call.call_id == settled.call_id else call for call in record.cursor.calls]
    return delivery._replace(record=_resolved(record, calls=tuple(calls))).note(post, str(post.verdict))


def _fold_input(delivery: Delivery, post: Post, wait: Wait) -> Delivery:
    record = delivery.record
    if check_binding(wait, post) is not None:
        return _again(delivery, wait).note(post, "refused: it does not answer this question")
    value: JsonValue = post.text if post.value is None else post.value
    if isinstance(value, str) and not value.strip():
        return _again(delivery, wait).note(post, "refused: the input is blank")
    after = _resolved(record, stage="route", signal=None)
    if wait.into is not None:
        after = after.model_copy(update={"state": {**record.state, wait.into: value}})
    message = Message(role="user", content=post.text or str(value), skill=record.cursor.skill)
    return delivery._replace(record=after, messages=(*delivery.messages, message)).note(post, "answered")


def _fold_prompt(delivery: Delivery, post: Post, wait: Wait) -> Delivery:
    """An answer goes to the plugin that asked, with all before it; `stop` ends its pass."""
    record = delivery.record
    if post.kind not in {"input", "decision"} or check_binding(wait, post) is not None:
        return _again(delivery, wait).note(post, "refused: it does not answer this question")
    if post.kind == "decision":
        if post.verdict != "stop":
            return _again(delivery, wait).note(post, "refused: answer the fields, or say stop")
        return delivery._replace(record=_aborted(record, f"refused by {post.actor}")).note(post, "aborted")
    answers = read_answer(wait, post)
    if isinstance(answers, Refused):
        return _again(delivery, wait).note(post, f"refused: {answers.reason}")
    place = place_of(record)
    place = place.model_copy(update={"answers": {**place.answers, wait.prompt_id: answers}})
    return delivery._replace(record=_resolved(record, place=place)).note(post, "answered", prompt=wait.prompt_id)


def _fold_tool_question(delivery: Delivery, post: Post, wait: Wait) -> Delivery:
    """An answer goes to the tool that asked, when its call is made again; with `stop` it is not made."""
    if post.kind not in {"input", "decision"} or check_binding(wait, post) is not None:
        return _again(delivery, wait).note(post, "refused: it does not answer this question")
    if post.kind == "decision":
        if post.verdict != "stop":
            return _again(delivery, wait).note(post, "refused: answer the fields, or say stop")
        rationale = post.text or "nobody answers what it asks"
        after = _judge(delivery.record, wait, verdict="rejected", approver=post.actor, rationale=rationale)
        return delivery._replace(record=after).note(post, "rejected")
    answers = read_answer(wait, post)
    if isinstance(answers, Refused):
        return _again(delivery, wait).note(post, f"refused: {answers.reason}")
    after = with_answers(delivery.record, wait, answers)
    return delivery._replace(record=after).note(post, "answered", prompt=wait.prompt_id)


def _aborted(record: Record, why: str) -> Record:
    return _resolved(record, place=place_of(record).model_copy(update={"aborted": why}))


def _fold_deadline(delivery: Delivery, wait: Wait) -> Delivery:
    record = delivery.record
    if wait.kind == "approval":
        after = _judge(record, wait, verdict="timeout", approver="system", rationale="approval window expired")
    elif wait.kind == "retry":
        after = _resolved(record)
    elif wait.kind == "limit":
        after = _resolved(record, admitted=wait.target)
    elif wait.kind == "timer" or (wait.kind == "child" and not wait.children):
        after = _resolved(record, stage="route")
    elif wait.kind == "child":
        return delivery  # the step looks at the children itself
    elif wait.kind == "uncertain":
        return delivery  # only a person knows
    elif wait.prompt_id and wait.call is not None:
        after = _judge(record, wait, verdict="timeout", approver="system", rationale="nobody answered in time")
    elif wait.prompt_id:
        after = _aborted(record, "nobody answered in time")
    else:
        after = _resolved(record, stage="route", signal="failed")
    line: JsonObject = {"what": "deadline", "wait": wait.wait_id, "kind": wait.kind}
    return delivery._replace(record=after, notes=(*delivery.notes, line))
