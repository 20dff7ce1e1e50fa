"""Whether a context can be shown to a model, and how it is mended where it cannot.

A model service refuses a transcript in which a tool call has no answer, has two, or has it in the wrong place:

    assistant asks a, b  →  the answers to a and b follow at once, one each  →  anything else

A crash, a cancel, a fork or a message that came in between may leave another order. Mending never invents an effect:
a call without an answer gets a synthetic one that says that nothing is known. An answer that no message asked for stays: it is
a declared step's, and the providers tell it as the user's words. Which roles must take turns is the providers' to arrange, for it
differs between services. Pure; the stored context is appended to and never rewritten.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import Message, ToolRequest

#: What a model is told of a call whose answer is not there.
LOST_ANSWER: Final = (
    '{"error":"no answer was recorded: the call was interrupted, and whether it acted is unknown","synthetic":true}'
)


class Repaired(NamedTuple):
    """A context as a model may see it.

    `added` are the synthetic answers that stand at its end: appended to the stored context, they mend it for good. `notes`
    say what was mended that no earlier model call has mended already, one mapping each.
    """

    messages: tuple[Message, ...]
    added: tuple[Message, ...] = ()
    notes: tuple[JsonObject, ...] = ()


def is_whole(messages: Sequence[Message]) -> bool:
    """Say whether every call has its one answer right behind it.

    >>> asked = Message(role="assistant", tool_calls=(ToolRequest(call_id="c", tool="t"),))
    >>> is_whole([asked, Message(role="tool", call_id="c")]), is_whole([asked]), is_whole([asked, Message(role="user")])
    (True, False, False)
    """
    open_calls: set[str] = set()
    asked: set[str] = set()
    loose: set[str] = set()
    for message in messages:
        if message.role == "tool" and message.call_id in open_calls:
            open_calls.remove(message.call_id)
            continue
        if open_calls:
            return False
        if message.role == "tool":  # a declared step's, unless a message asks for it before or after
            if message.call_id in asked:
                return False
            loose.add(message.call_id or "")
        if message.tool_calls:
            ids = [call.call_id for call in message.tool_calls]
            if len(set(ids)) < len(ids) or not asked.isdisjoint(ids) or not loose.isdisjoint(ids):
                return False
            open_calls.update(ids)
            asked.update(ids)
    return not open_calls


def repair(messages: tuple[Message, ...]) -> Repaired:
    """Return the context with one answer right behind each call: those that are there in their order, then synthetic ones."""
    if is_whole(messages):
        return Repaired(messages)
    last = max((place for place, message in enumerate(messages) if message.role == "assistant"), default=-1)
    answers = _answers(messages)
    mended: list[Message] = []
    added: tuple[Message, ...] = ()
    notes: list[JsonObject] = []
    asked: set[str] = set()
    for place, message in enumerate(messages):
        if message.role == "tool" and message.call_id in answers:
            found = answers[message.call_id]
            if place > last and (found is None or found[0] != place):
                notes.append(_note(message.call_id or "", "", "second answer left out"))
            continue  # the first one stands behind its call
        own = _new_calls(message, asked)
        if own != message.tool_calls:
            message = message.model_copy(update={"tool_calls": own})  # noqa: PLW2901
        mended.append(message)
        behind = _run_behind(messages, place)
        made: list[Message] = []
        given: list[tuple[int, Message]] = []
        for call in own:
            found = answers[call.call_id]
            if found is None:
                made.append(Message(role="tool", content=LOST_ANSWER, call_id=call.call_id, skill=message.skill))
                what = "answer was missing"
            else:
                given.append(found)
                what = "" if found[0] in behind else "answer moved behind its call"
            if what and place == last:
                notes.append(_note(call.call_id, call.tool, what))
        mended.extend(one for _, one in sorted(given, key=lambda found: found[0]))
        mended.extend(made)
        if made and len(messages) == behind.stop:
            added = tuple(made)
    return Repaired(tuple(mended), added, tuple(notes))


def repaired_event(notes: Sequence[JsonObject], provider: str) -> JsonObject:
    """Return what provider:tool_sequence_repaired tells."""
    return {"provider": provider, "repair_count": len(notes), "repairs": list(notes)}


def _answers(messages: Sequence[Message]) -> dict[str, tuple[int, Message] | None]:
    """Return the first answer to each call that was asked for, with its place; None where there is none."""
    found: dict[str, tuple[int, Message] | None] = {
        call.call_id: None for message in messages for call in message.tool_calls
    }
    for place, message in enumerate(messages):
        if message.role == "tool" and message.call_id in found and found[message.call_id] is None:
            found[message.call_id] = place, message
    return found


def _run_behind(messages: Sequence[Message], place: int) -> range:
    """Return the places of the tool messages right behind one."""
    end = place + 1
    while end < len(messages) and messages[end].role == "tool":
        end += 1
    return range(place + 1, end)


def _new_calls(message: Message, asked: set[str]) -> tuple[ToolRequest, ...]:
    """Return a message's calls without those that were asked for before; note them as asked for."""
    if not message.tool_calls:
        return ()
    own = []
    for call in message.tool_calls:
        if call.call_id not in asked:
            own.append(call)
            asked.add(call.call_id)
    return tuple(own)


def _note(call_id: str, tool: str, what: str) -> JsonObject:
    return {"tool_call_id": call_id, "tool_name": tool, "what": what}
