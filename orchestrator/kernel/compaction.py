"""Keep what a model sees within its app's budget of tokens: what is left out, and where the cut goes.

    stored      m0  m1  m2  m3  m4  m5  m6  m7  m8          append-only, kept whole
    shown       [words for m1-m5]  m0  m6  m7  m8           m0 is what the session was asked

The cut goes where no call is parted from its answers, and it only ever moves forward. Tokens are estimated, four
characters each: a budget is a distance to a model's window, not its edge. Pure; asking a model for a summary is the step's work.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.messages import Message

CHARS_PER_TOKEN: Final = 4
#: What a message costs beside its words: role, ids, separators.
TOKENS_PER_MESSAGE: Final = 4
#: How much of one message goes into what a summary is made of; its beginning and end say most.
MOST_TOLD_CHARS: Final = 4_000


class Cut(NamedTuple):
    """A compaction that is due: the messages `since` to `upto` are to be put into other words."""

    since: int
    upto: int
    tokens: int
    left_out: tuple[Message, ...]


def estimate_tokens(message: Message) -> int:
    """Return about how many tokens a message costs.

    >>> estimate_tokens(Message(role="user", content="x" * 40))
    14
    """
    chars = len(message.content)
    for call in message.tool_calls:
        chars += len(call.tool) + len(dump_json(call.args))
    if message.reasoning is not None:
        chars += len(dump_json(message.reasoning.parts))
    return chars // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE


def count_tokens(messages: Sequence[Message]) -> int:
    """Return about how many tokens messages cost together."""
    return sum(map(estimate_tokens, messages))


def shown(messages: tuple[Message, ...], compacted: Compacted | None) -> tuple[Message, ...]:
    """Return the messages that a model sees: all of them, or the words for what is left out and the rest.

    The words come first, as the system's: every dialect knows where those go. What the session was asked stays.
    """
    if compacted is None or compacted.upto > len(messages):
        return messages
    head = messages[:1] if messages[0].role == "user" else ()
    return (Message(role="system", content=compacted.words), *head, *messages[compacted.upto :])


def plan_cut(
    messages: tuple[Message, ...], compacted: Compacted | None, *, max_tokens: int, keep_tokens: int
) -> Cut | None:
    """Return what to leave out where the shown messages are over `max_tokens`; None where they are not, or nothing can go.

    The newest messages that fit into `keep_tokens` stay, and at least the last one with all that belongs to it.
    """
    tokens = count_tokens(shown(messages, compacted))
    if tokens <= max_tokens:
        return None
    since = compacted.upto if compacted is not None else 1 if messages[0].role == "user" else 0
    upto, kept = None, 0
    for place in range(len(messages) - 1, since, -1):
        kept += estimate_tokens(messages[place])
        if kept > keep_tokens and upto is not None:
            break
        if messages[place].role != "tool":  # between a call and its answers there is no cut
            upto = place
    return None if upto is None else Cut(since, upto, tokens, messages[since:upto])


def apply_cut(compacted: Compacted | None, cut: Cut, words: str, *, most_tokens: int) -> Compacted:
    """Return the compaction after a cut; words that are too long lose their end."""
    count = 1 if compacted is None else compacted.count + 1
    return Compacted(upto=cut.upto, words=shorten(words.strip(), most_tokens * CHARS_PER_TOKEN), count=count)


def simple_words(cut: Cut) -> str:
    """Return what the model is told of messages that nobody summarised."""
    return f"Messages 1 to {cut.upto} of this session are left out here. Only the first and the newest ones follow."


def summary_words(cut: Cut, summary: str) -> str:
    """Return what the model is told in place of messages that were summarised."""
    return f"Messages 1 to {cut.upto} of this session are left out here. What they said:\n\n{summary.strip()}"


def tell_messages(messages: Sequence[Message], before: str, *, most_tokens: int) -> str:
    """Return messages as a text to be summarised, after the summary of what came `before`.

    Where it is too long the oldest lines go: they are in `before`, or matter least.
    """
    lines = [line for message in messages for line in _lines(message)]
    room = most_tokens * CHARS_PER_TOKEN - len(before)
    while lines and sum(len(line) + 1 for line in lines) > room:
        lines.pop(0)
    return "\n".join([*((before, "") if before else ()), *lines])


def _lines(message: Message) -> list[str]:
    who = (
        "tool answer"
        if message.role == "tool"
        else f"{message.role} ({message.skill})"
        if message.skill
        else message.role
    )
    said = [f"{who}: {shorten(message.content, MOST_TOLD_CHARS)}"] if message.content.strip() else []
    calls = [f"{who} calls {call.tool} {shorten(dump_json(call.args), MOST_TOLD_CHARS)}" for call in message.tool_calls]
    return said + calls


def shorten(text: str, most: int) -> str:
    """Return a text of at most so many characters; one that is longer says so at its end.

    >>> shorten("a long story", 8), shorten("short", 8)
    ('a (cut)', 'short')
    """
    mark = " (cut)"
    if len(text) <= most:
        return text
    kept = most - len(mark)
    return f"{text[:kept].rstrip()}{mark}" if kept > 0 else text[:most]  # so few say nothing of a cut


def compacted_event(manager: str, *, tokens: int, messages: int, **more: JsonObject | int | str) -> JsonObject:
    """Return what context:pre_compact and context:post_compact tell: the manager, the tokens, the messages shown."""
    return {"manager": manager, "token_count": tokens, "message_count": messages, **more}
