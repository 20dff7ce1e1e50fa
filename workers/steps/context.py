"""What a model is shown: the session's context, within its app's budget, as a service accepts it.

    whole context  →  over the budget? compact it, in a step of its own  →  mend what calls left open  →  the model

Compacting is a step: its words may cost a model call, and what has been paid for is committed before the turn that needs it.
What is decided here is in kernel/compaction.py and kernel/transcript.py; what happened goes into the entry's `events`,
and the hooks of the session are told it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Final, NamedTuple, TypeAlias, cast

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.context import SIMPLE, SUMMARISING, ContextSpec
from orchestrator.contracts.errors import AppCodeFailed
from orchestrator.contracts.event_names import (
    CONTEXT_POST_COMPACT,
    CONTEXT_PRE_COMPACT,
    PROVIDER_TOOL_SEQUENCE_REPAIRED,
)
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse
from orchestrator.contracts.session import Record
from orchestrator.kernel.change import Change, move
from orchestrator.kernel.compaction import (
    Cut,
    apply_cut,
    compacted_event,
    count_tokens,
    plan_cut,
    shown,
    simple_words,
    summary_words,
    tell_messages,
)
from orchestrator.kernel.transcript import repair, repaired_event
from workers.steps.world import World

#: How a step asks its model: `agent_turn.ask_model`, handed in because that step shows the context first.
Ask: TypeAlias = Callable[[World, Record, ModelRequest], Awaitable[ModelResponse]]

#: The name under which a summary is asked for: no skill can have it. `turn` counts a session's compactions.
SUMMARY_SKILL: Final = "context:summary"
#: How long a function of the app's may take over what is left out.
MANAGER_SECONDS: Final = 60.0


class Shown(NamedTuple):
    """The messages of a model call; `added` go into the context with its answer, `events` into its entry."""

    messages: tuple[Message, ...]
    added: tuple[Message, ...] = ()
    events: tuple[JsonObject, ...] = ()

    def settle(self, change: Change) -> Change:
        """Return the turn's change with what showing the context has brought."""
        if not self.events:
            return change
        told: JsonObject = {**change.data, "events": list(self.events)}
        return change._replace(messages=(*self.added, *change.messages), data=told)


async def show_context(world: World, record: Record, messages: tuple[Message, ...], ask: Ask) -> Shown | Change:
    """Return what the model is to see of the whole context, or the step that has to come before: a compaction."""
    declared = world.spec.context
    if declared is not None:
        limits = declared.max_tokens, min(declared.kept_tokens, declared.max_tokens)
        cut = plan_cut(messages, record.compacted, max_tokens=limits[0], keep_tokens=limits[1])
        if cut is not None:
            return await _compact(world, declared, record, messages, cut, ask)
    mended = repair(shown(messages, record.compacted))
    if not mended.notes:
        return Shown(mended.messages, mended.added)
    event = repaired_event(mended.notes, world.spec.model.provider)
    told = await _tell(world, PROVIDER_TOOL_SEQUENCE_REPAIRED, event)
    return Shown(mended.messages, mended.added, (told,))


async def _tell(world: World, event: str, data: JsonObject) -> JsonObject:
    """Tell the session's hooks; return the event as the journal keeps it."""
    if world.hooks is not None:
        await world.hooks.tell(event, data)
    return {"event": event, **data}


async def compact_refused(world: World, record: Record, messages: tuple[Message, ...], ask: Ask) -> Change | None:
    """Return the step that compacts what the service found too long, to half of it; None where that cannot be done."""
    declared = world.spec.context
    if declared is None:
        return None
    half = count_tokens(shown(messages, record.compacted)) // 2
    kept = min(declared.kept_tokens, half)
    cut = plan_cut(messages, record.compacted, max_tokens=half, keep_tokens=kept)
    return (
        None if cut is None else await _compact(world, declared, record, messages, cut, ask, why="refused as too long")
    )


async def _compact(
    world: World,
    declared: ContextSpec,
    record: Record,
    messages: tuple[Message, ...],
    cut: Cut,
    ask: Ask,
    *,
    why: str = "over max_tokens",
) -> Change:
    before = record.compacted
    data: JsonObject = {"manager": declared.manager, "why": why}
    seen = len(shown(messages, before))
    event = compacted_event(declared.manager, tokens=cut.tokens, messages=seen, token_budget=declared.max_tokens)
    events: list[JsonValue] = [await _tell(world, CONTEXT_PRE_COMPACT, event)]
    match declared.manager:
        case name if name == SIMPLE:
            words = simple_words(cut)
        case name if name == SUMMARISING:
            words = await _summarise(world, declared, record, cut, ask, data)
        case reference:
            words = await _ask_app(world, declared, record, cut, reference)
    after = apply_cut(before, cut, words, most_tokens=declared.summary_tokens)
    left = shown(messages, after)
    event = compacted_event(
        declared.manager, tokens=count_tokens(left), messages=len(left), left_out=len(cut.left_out), upto=cut.upto
    )
    data["events"] = [*events, await _tell(world, CONTEXT_POST_COMPACT, event)]
    cursor = record.cursor.model_copy(update={"failures": 0})
    moved = move(record, cursor).model_copy(update={"compacted": after})
    return Change(record=moved, step="compact", data=data)


async def _summarise(world: World, declared: ContextSpec, record: Record, cut: Cut, ask: Ask, data: JsonObject) -> str:
    """Ask the model for the words; one that says nothing leaves the simple ones."""
    before = record.compacted
    text = tell_messages(cut.left_out, before.words if before else "", most_tokens=declared.max_tokens)
    request = ModelRequest(
        session_id=record.session_id,
        skill=SUMMARY_SKILL,
        model=_model_of(world, record),
        system=declared.summary_prompt,
        messages=(Message(role="user", content=text),),
        turn=before.count if before else 0,
        timeout_seconds=world.spec.model.request_timeout_seconds,
    )
    response = await ask(world, record, request)
    usage = response.usage
    data |= {"model": response.model, "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return summary_words(cut, response.content) if response.content.strip() else simple_words(cut)


def _model_of(world: World, record: Record) -> str:
    skill = world.spec.skills[record.cursor.skill]
    return getattr(skill, "model", None) or world.spec.model.model


async def _ask_app(world: World, declared: ContextSpec, record: Record, cut: Cut, reference: str) -> str:
    """Call the app's own function with what is left out; it returns the words, or None for the simple ones."""
    function = world.app.load_function(reference)
    given: JsonObject = {
        "messages": [message.model_dump(mode="json") for message in cut.left_out],
        "words": record.compacted.words if record.compacted else "",
        "most_tokens": declared.summary_tokens,
    }
    with world.watch.within(MANAGER_SECONDS):
        if iscoroutinefunction(function):
            made = await cast("Awaitable[object]", function(given))
        else:
            made = await asyncio.to_thread(function, given)
    if made is None:
        return simple_words(cut)
    if not isinstance(made, str):
        raise AppCodeFailed(f"context.manager: {reference} returned {type(made).__name__}; return a text, or None")
    return summary_words(cut, made)
