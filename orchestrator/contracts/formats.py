"""Which Baton can read what: the two numbers under which several versions share a store.

FORMAT is the number of the shapes in which a session is stored (`SHAPES`). It grows by one with every change after which a
Baton of before could not read what this one writes: a field, a kind, a value more. A session carries the highest format of
those who claimed it, or wrote to it; a worker of a lower one leaves it alone (scripts/claim.lua), so that during an
upgrade old workers go on with what no new one has touched, and after a way back nothing is buried that a newer Baton can read.
Every format of before is read for ever: a journal is kept for years.

LAYOUT is the number of what the scripts agree on: keys, members of the indexes, fields of the record that they read.
Processes of two layouts may not work on one store; the second one is refused when it starts.

What processes tell one another outside of sessions has no format: it is `Shared` (base.py).
"""

from typing import Final

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.budgets import Spent
from orchestrator.contracts.context import Compacted
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.hooks import HookMemory
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Post, Record, ToolCall, Wait

FORMAT: Final = 2
LAYOUT: Final = 1

#: Everything that is stored of a session as JSON, and the record, whose fields are the hash's.
SHAPES: Final[tuple[type[Frozen], ...]] = (
    Compacted,
    Cursor,
    Entry,
    FailureRecord,
    HookMemory,
    Message,
    PendingCall,
    Post,
    Record,
    Spent,
    ToolCall,
    Wait,
)
