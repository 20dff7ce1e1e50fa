"""Words between agents: what a model service is shown where one skill hands over to the next.

In a session's context an agent's last word is followed by the next agent's first. A chat API
expects the user to speak in between, and takes an assistant's message at the end as one to be
continued; so a line of the runtime stands there. A declared step's tool call was asked for by no
model, and a chat API refuses an answer to a call that nobody made; so its result is told as the
user's words. Neighbouring words of the user are one message, for services whose roles must take turns. Pure; the context
itself is not changed.
"""

from collections.abc import Iterable, Iterator, Sequence

from orchestrator.contracts.messages import Message


def with_handovers(messages: Sequence[Message], skill: str) -> Iterator[Message]:
    """Yield the messages, with a user's line wherever an assistant's last word is not answered.

    >>> said = [Message(role="assistant", content="done", skill="one")]
    >>> [(m.role, m.content) for m in with_handovers(said, "two")]
    [('assistant', 'done'), ('user', 'Go on: two.')]
    >>> found = Message(role="tool", content="3 files", call_id="call-4-0", skill="survey")
    >>> [(m.role, m.content) for m in with_handovers([*said, found], "two")]
    [('assistant', 'done'), ('user', 'Result of survey: 3 files')]
    """
    waits = False
    asked: set[str] = set()
    for message in messages:
        if waits and message.role == "assistant":
            yield _handover(message.skill)
        asked.update(call.call_id for call in message.tool_calls)
        if message.role == "tool" and message.call_id not in asked:
            yield Message(role="user", content=f"Result of {message.skill or 'a step'}: {message.content}")
        else:
            yield message
        waits = message.role == "assistant" and not message.tool_calls
    if waits:
        yield _handover(skill)


def opening_of(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the system messages at a context's start: they join the system prompt, of which most services take one.

    >>> len(opening_of([Message(role="system"), Message(role="user"), Message(role="system")]))
    1
    """
    end = next((place for place, message in enumerate(messages) if message.role != "system"), len(messages))
    return messages[:end]


def in_turns(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages with neighbouring words of the user joined into one.

    >>> said = [Message(role="user", content="a"), Message(role="user", content="b"), Message(role="assistant")]
    >>> [(m.role, m.content) for m in in_turns(said)]
    [('user', 'a\\n\\nb'), ('assistant', '')]
    """
    before: Message | None = None
    for message in messages:
        if before is not None and before.role == message.role == "user":
            joined = "\n\n".join(text for text in (before.content, message.content) if text)
            before = before.model_copy(update={"content": joined})
            continue
        if before is not None:
            yield before
        before = message
    if before is not None:
        yield before


def _handover(skill: str) -> Message:
    return Message(role="user", content=f"Go on: {skill}." if skill else "Go on.")
