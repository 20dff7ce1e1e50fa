"""Settle a session in the very commit that brings its work to its end.

A holder that takes the finalizer's queue has the whole session at hand, and its app's rules are pure: the step that ends
the work and the settling are then two entries of one write, and a session costs one commit less. Nothing is promised less:
whoever finds the status finds the work before it in the journal, and a crash leaves both or neither.

Two commits it stays where something has to happen in between: a parent is told of an end that is certain, hooks speak
at the settling, and who cancelled too late is told so. What the store alone can know, a post or a cancel that has
just come, it answers with Unsettled (store/scripts/commit.lua), having written nothing.
"""

import logging
import time
from typing import NamedTuple

from orchestrator.finalizer import settle_session
from orchestrator.kernel.change import Change, forget_failure
from orchestrator.kernel.delivery import Delivery
from orchestrator.store.leases import Commit
from workers.counting import count_step
from workers.recording import encode
from workers.steps.finalize import has_to_tell
from workers.steps.world import World

log = logging.getLogger(__name__)

#: What a rule may raise over what models and tools have written.
_STRANGE = (LookupError, TypeError, ValueError)


class Joined(NamedTuple):
    """The settling, and the commit of the last step and it together."""

    settling: Change
    commit: Commit


def join_settling(world: World, change: Change, commit: Commit, *, actor: str) -> Joined | None:
    """Return the settling that may go with a step's commit, None where it has to be a step of its own."""
    record = change.record
    if world.hooks is not None or has_to_tell(record) or record.cancel is not None or change.intents:
        return None
    began = time.perf_counter()
    before = record.model_copy(update={"phase": "finalizing"})
    open_intents = tuple(call_id for call_id in world.intents if call_id not in change.cleared)
    try:
        settling = forget_failure(settle_session(world.spec, before, open_intents=open_intents))
    except _STRANGE as error:  # it fails again in a step of its own, where failures are recorded; the work is kept
        log.debug("session %s: settling failed", record.session_id, exc_info=error)
        return None
    seconds = time.perf_counter() - began
    counters = dict(commit.counters or {})
    count_step(counters, settling, seconds)
    last = encode(before, settling, "ended", Delivery(before), attempt=1, actor=actor, seconds=seconds)
    both = commit._replace(
        directive="ended",
        fields={**commit.fields, **last.fields},
        entries=(*commit.entries, *last.entries),
        status=last.status,
        reason=last.reason,
        counters=counters,
        keep=False,
        settles=True,
    )
    return Joined(settling, both)
