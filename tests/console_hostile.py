"""A session in which every text is hostile: what a model, a tool, a plugin or a caller might write, and worse.

The values are made past every check, as if one had been forgotten.
"""

import types
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from orchestrator.client import Client
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Entry, PendingCall, Record
from orchestrator.contracts.streaming import StreamPiece
from orchestrator.interfaces.console.shown import visible
from orchestrator.operations import Operations, Page, Place
from orchestrator.search import Unread
from orchestrator.store.listing import Row

SESSION = "EVERY-20260101-001"
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202egpj.exe"
#: The same as a page must show it.
SHOWN = visible(EVIL)
#: A session that cannot be read, with evil where the index and its record have words.
UNREAD = (Unread(Row(EVIL, EVIL, EVIL, 1), EVIL),)
DATA: dict[str, Any] = {EVIL: EVIL, "deep": [{EVIL: [EVIL]}, 1, None]}


def poison(kind: Any) -> Any:
    """Return a value of this type in which every text that is free is hostile."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return poison(next(one for one in args if one is not type(None)))
    if origin is Literal:
        return args[0]
    if origin is tuple:
        return (poison(args[0]),) if args else ()
    if origin is dict:
        return {EVIL: poison(args[1])}
    if hasattr(kind, "__value__"):
        return poison(kind.__value__)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return poison_model(kind)
    return {str: EVIL, int: 3, float: 0.5, bool: False, Decimal: Decimal("0.5")}.get(kind, DATA)


def poison_model(model: type[BaseModel], /, **given: Any) -> Any:
    """Return a model with every field hostile, unchecked: as if a check had been forgotten."""
    values = {name: poison(field.annotation) for name, field in model.model_fields.items()}
    return model.model_construct(**{**values, **given})


def poisoned_record(phase: str, wait_kind: str = "approval") -> Record:
    """Return a session of that phase that holds nothing but evil."""
    record: Record = poison_model(Record, session_id=SESSION, phase=phase, parent="EVERY-20260101-002", seq=12)
    assert record.wait is not None
    children = {f"{SESSION}0": None, EVIL: {EVIL: EVIL}}
    wait = record.wait.model_copy(update={"kind": wait_kind, "children": children})
    return record.model_copy(update={"wait": wait, "state": DATA, "fields": DATA, "answered": False})


def poisoned_entries() -> list[Entry]:
    """Return a journal in which each kind of entry says everything in evil."""
    hooks = [{"event": EVIL, "hook": EVIL, "action": EVIL, "reason": EVIL}]
    posts = [{"what": EVIL, "actor": EVIL, "wait": EVIL}]
    isolation = {"tier": EVIL, "duration_ms": EVIL, "exit_code": EVIL, "peak_memory_mb": EVIL, EVIL: EVIL}
    plugin = {
        "plugin": EVIL,
        "version": EVIL,
        "status": EVIL,
        "error": EVIL,
        "violations": [DATA],
        "isolation": isolation,
    }
    changes = [{"path": EVIL, "kind": EVIL, "summary": EVIL, "detail": DATA}, {"path": {"no": "path"}, "kind": ["x"]}]
    data: list[dict[str, Any]] = [
        {"post": {"kind": EVIL, "verdict": EVIL, "text": EVIL, "name": EVIL}},
        {"hooks": hooks, "denied": True, "hook": EVIL, "reason": EVIL, "posts": posts},
        {"plugin": plugin, "changes": changes, "logs": [DATA], "aborted": EVIL},
        {"error": EVIL, "message": EVIL, "decision": EVIL},
        {"status": EVIL, "reason": EVIL, "rule": 0, "rule_text": {"tool_name": EVIL, "match_args": DATA}, "tool": EVIL},
        {"wait": "input", "asks": EVIL, "call": EVIL},
        {"reason": EVIL, "detail": EVIL},
        {"hooks": [{"event": EVIL, "hook": EVIL, "action": EVIL, "before": EVIL, "after": EVIL}], "refused": EVIL},
        {"budget": {"spent": EVIL, "warning": {EVIL: {"used": EVIL, "limit": EVIL}}}, "events": [{"event": EVIL}]},
        {"wait": "limit", "why": EVIL, "manager": EVIL},
        {EVIL: EVIL},
    ]
    made = [
        poison_model(Entry, seq=seq, at=1_000 * seq, data=one, set={}, messages=(), step="agent_turn")
        for seq, one in enumerate(data, 1)
    ]
    made[4] = made[4].model_copy(update={"step": "finalize"})
    made[5] = made[5].model_copy(update={"outcome": "suspended"})
    return [*made, poison_model(Entry, seq=12, at=12_000, data={}, set={}, messages=(), step=None, kind=EVIL)]


def poison_client(given: Client, given_operations: Operations, record: Record) -> None:
    """Let the client tell of nothing but that session; no validated runtime could have written it."""
    client: Any = given
    operations: Any = given_operations

    async def events(*_: Any, **__: Any) -> AsyncIterator[Entry]:
        for entry in poisoned_entries():
            yield entry

    async def stream(*_: Any, **__: Any) -> AsyncIterator[StreamPiece]:
        for kind in ("begin", "text", "thinking", "tool"):
            yield poison_model(StreamPiece, kind=kind, offset="1-1")

    def answer(value: Any) -> Any:
        async def give(*_: Any, **__: Any) -> Any:
            return value

        return give

    messages = tuple(
        poison_model(Message, role=role, content=EVIL * many) for role in ("user", "tool") for many in (1, 60)
    )
    letters = [{"reason": EVIL, "error": EVIL, "detail": f"{EVIL}\n{EVIL}", "attempts": EVIL, "at": 1, EVIL: EVIL}]
    told = {
        "show": answer(record),
        "context": answer(messages),
        "intents": answer({EVIL: poison_model(PendingCall)}),
        "events": events,
        "stream": stream,
        "search": answer(
            types.SimpleNamespace(listed=(types.SimpleNamespace(record=record),), after=Place(1, EVIL), unread=UNREAD)
        ),
    }
    for name, value in told.items():
        setattr(client, name, value)
    operations.page = answer(Page((record,), None, UNREAD))
    operations.letters = answer(letters)
    operations.acts = answer([types.SimpleNamespace(number="1-1", at=1, actor=EVIL, act=EVIL, target=EVIL, data=DATA)])
    operations.pauses = answer([types.SimpleNamespace(target="queue:steps", at=1, actor=EVIL, reason=EVIL)])
