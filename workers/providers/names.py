"""Names on the wire: tools' names as model services accept them, and ids of calls.

Services accept `[A-Za-z0-9_-]` only, so `server:tool` travels as `server__tool`. The way back goes
through the table that made it and never by splitting, which would guess. Pure.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from typing import Final

from orchestrator.contracts.errors import suggest
from orchestrator.contracts.messages import ModelRequest
from orchestrator.contracts.provider_errors import InvalidToolCallError
from orchestrator.kernel.lookup import names_match

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
MAX_NAME: Final = 64


class WireNames:
    """A two-way table of the tools of one request."""

    def __init__(self, names: Iterable[str]) -> None:
        full = sorted(set(names))
        plain = {name: _UNSAFE.sub("_", name.replace(":", "__")) for name in full}
        uses = Counter(plain.values())
        self._wire: dict[str, str] = {}
        for name, short in plain.items():
            # Two tools that would share a name, or one too long, get a part of their own digest.
            clear = uses[short] == 1 and len(short) <= MAX_NAME
            self._wire[name] = short if clear else f"{short[: MAX_NAME - 9]}_{_digest(name)[:8]}"
        self._full = {wire: name for name, wire in self._wire.items()}

    def wire(self, name: str) -> str:
        """Return the name that the service sees."""
        return self._wire[name]

    def full(self, wire: str) -> str:
        """Return the tool's full name, or a name that no tool has as it is: the runtime answers it."""
        return self._full.get(wire, wire)


def wire_names(request: ModelRequest) -> WireNames:
    """Return the table for all tools that a request offers, and those that its messages mention."""
    offered = (tool.name for tool in request.tools)
    mentioned = (call.tool for message in request.messages for call in message.tool_calls)
    return WireNames([*offered, *mentioned])


def wire_call_id(call_id: str) -> str:
    """Return a call's id as every service accepts it: the same for the call and for its answer.

    >>> wire_call_id("call_1"), len(wire_call_id("SES-20261120-001:7:0"))
    ('call_1', 29)
    """
    return call_id if _CALL_ID.fullmatch(call_id) else f"call_{_digest(call_id)[:24]}"


def make_call_id(request: ModelRequest, index: int) -> str:
    """Return the id of the `index`-th call of this turn: the same each time the turn is made.

    The length of the context is part of it, because a skill that is entered again counts its turns
    from 0 again.
    """
    parts = (request.session_id, request.skill, request.turn, len(request.messages), index)
    return f"call_{_digest('|'.join(map(str, parts)))[:24]}"


def unique_call_ids(request: ModelRequest, given: Iterable[str | None]) -> Iterator[str]:
    """Return an id for each call: the service's own, unless it is missing or was used before.

    Some services number their calls from 0 in every response.
    """
    used = {call.call_id for message in request.messages for call in message.tool_calls}
    for index, call_id in enumerate(given):
        chosen = call_id if call_id and call_id not in used else make_call_id(request, index)
        used.add(chosen)
        yield chosen


def resolve_tool(name: str, offered: Collection[str], *, where: str, provider: str) -> str:
    """Return the full name of the one offered tool that a bare or qualified name means.

    Raise InvalidToolCallError if there is none, or more than one.
    """
    if name in offered:
        return name
    found = sorted(full for full in offered if names_match(name, full))
    if len(found) == 1:
        return found[0]
    if not found:
        bare = {full.rpartition(":")[2] for full in offered}
        message = f"{where}: the skill has no tool {name!r}; {suggest(name, {*offered, *bare})}"
    else:
        message = f"{where}: {name!r} is ambiguous; write one of {', '.join(found)}"
    raise InvalidToolCallError(message, tool_name=name, provider=provider)


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
