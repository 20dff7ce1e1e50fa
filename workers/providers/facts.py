"""What a policy may know of a session: the names of its expressions, read from the context.

A context only grows, so facts are kept per session and fold in what is new: a turn costs the same
at message 10 and at message 10,000. What is kept is a cache; from the same messages another worker
reads the same facts.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from orchestrator.contracts.base import load_json
from orchestrator.contracts.messages import Message, ModelRequest
from orchestrator.kernel.expressions import Names
from orchestrator.kernel.lookup import normalise_tool

#: The names that `Facts.names` gives; a policy that uses another is refused when it is built.
FACT_NAMES: Final = frozenset({"state", "results", "calls", "turn", "text", "inputs"})
MAX_SESSIONS: Final = 1_000


class Facts:
    """The facts of one context, folded message by message.

    `results` holds the latest answer of each tool by its bare name: the value of its JSON, or the
    text where it is none; a failed call's answer is the mapping with `error` that the runtime
    wrote. An *activation* is the trailing run of messages that belong to one skill; messages that
    belong to none do not end it. `calls` are the bare names of the tools called in it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._ends: tuple[Message, Message] | None = None
        self._skill = ""
        self._asked: dict[str, str] = {}
        self._calls: list[JsonValue] = []
        self._text: str | None = None
        self._inputs: list[JsonValue] = []
        self._results: dict[str, JsonValue] = {}

    def fits(self, messages: Sequence[Message]) -> bool:
        """Say whether these messages go on where the folded ones ended."""
        if self._ends is None:
            return True
        return self.count <= len(messages) and (messages[0], messages[self.count - 1]) == self._ends

    def fold(self, messages: Sequence[Message]) -> None:
        """Take in the messages that are new."""
        for message in messages[self.count :]:
            self._take(message)
        self.count = len(messages)
        self._ends = (messages[0], messages[-1]) if messages else None

    def names(self, request: ModelRequest) -> dict[str, JsonValue]:
        """Return the names of a policy's expressions for this turn."""
        return {
            "state": request.state,
            "results": dict(self._results),
            "calls": list(self._calls) if self._skill == request.skill else [],
            "turn": request.turn,
            "text": self._text or "",
            "inputs": list(self._inputs),
        }

    def _take(self, message: Message) -> None:
        if message.skill and message.skill != self._skill:
            self._skill, self._calls = message.skill, []
        match message.role:
            case "user" if self._text is None:
                self._text = message.content
            case "user":
                self._inputs.append(message.content)
            case "assistant":
                for call in message.tool_calls:
                    bare = normalise_tool(call.tool)[1]
                    self._asked[call.call_id] = bare
                    self._calls.append(bare)
            case "tool" if (bare := self._asked.pop(message.call_id or "", "")) != "":
                self._results[bare] = _parse(message.content)


class FactsCache:
    """The facts of the sessions that this process saw last."""

    def __init__(self, limit: int = MAX_SESSIONS) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Facts] = OrderedDict()

    def read(self, request: ModelRequest) -> Names:
        """Return the names for a request, from what is kept where it still fits."""
        facts = self._kept.pop(request.session_id, None)
        if facts is None or not facts.fits(request.messages):
            facts = Facts()
        facts.fold(request.messages)
        self._kept[request.session_id] = facts
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return facts.names(request)


def _parse(content: str) -> JsonValue:
    try:
        return load_json(content)
    except ValueError:  # not JSON: then the tool answered with text
        return content
