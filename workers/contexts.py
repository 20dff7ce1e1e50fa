"""Recent sessions' contexts, kept by this process: a claim then brings only the new tail.

The context is append-only, so what was read stays true; a length that does not fit what the
store says makes the cache forget. Bounded by messages, of which each session counts as one more; oldest session out first. A server that was restored or failed over
may have gone back and on from there: whoever connects anew clears the cache, because equal lengths then prove nothing.
"""

from collections import OrderedDict
from collections.abc import Sequence

from orchestrator.contracts.messages import Message


class ContextCache:
    """Messages by session, for one event loop."""

    def __init__(self, most_messages: int = 50_000) -> None:
        self._most = most_messages
        self._held = 0
        self._kept: OrderedDict[str, list[Message | str]] = OrderedDict()

    def length(self, session_id: str) -> int:
        """Return how many messages are known from the beginning on."""
        kept = self._kept.get(session_id)
        return 0 if kept is None else len(kept)

    def start(self, session_id: str, tail: Sequence[str], length: int) -> None:
        """Take what a claim brought; forget everything if it does not join on."""
        kept = self._kept.pop(session_id, None)
        held = [] if kept is None else kept
        self._held -= 0 if kept is None else _weigh(kept)
        if len(held) + len(tail) != length:
            held = list(tail) if len(tail) == length else []
        else:
            held.extend(tail)
        if len(held) == length:
            self._kept[session_id] = held
            self._held += _weigh(held)
        while self._held > self._most and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._held -= _weigh(gone)

    def append(self, session_id: str, messages: Sequence[str]) -> None:
        """Take what a commit of ours appended."""
        kept = self._kept.get(session_id)
        if kept is not None and messages:
            kept.extend(messages)
            self._held += len(messages)

    def messages(self, session_id: str) -> tuple[Message, ...] | None:
        """Return the whole context, or None where it is not known; each message is read once."""
        kept = self._kept.get(session_id)
        if kept is None:
            return None
        for number, message in enumerate(kept):
            if isinstance(message, str):
                kept[number] = Message.from_json(message)
        return tuple(message for message in kept if isinstance(message, Message))

    def clear(self) -> None:
        """Drop everything: the store behind it may be another one by now."""
        self._kept.clear()
        self._held = 0

    def forget(self, session_id: str) -> None:
        """Drop a session that has ended, or whose lease was lost: another holder may have written."""
        kept = self._kept.pop(session_id, None)
        if kept is not None:
            self._held -= _weigh(kept)


def _weigh(kept: Sequence[object]) -> int:
    """Return what a session counts: one that has said nothing takes room, too."""
    return len(kept) + 1
