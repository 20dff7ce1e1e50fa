"""One session in one lane: what the executor, the heartbeat and the drain know of it while it runs.

What a slice does is the executor's work; which cancel may stop its step is decided in kernel/cancelling.py.
"""

import asyncio
import time
from dataclasses import dataclass, field

from orchestrator.kernel.cancelling import StopsFor
from orchestrator.store.leases import Cancel, Leases
from workers.step_span import StepSpan
from workers.steps.watch import Watch


@dataclass(slots=True)
class Turn:
    """The right to run a suspect, which one slice of a process has at a time, until its session commits."""

    lock: asyncio.Lock
    held: bool = True

    def end(self) -> None:
        """Let the next one in; may be called twice."""
        if self.held:
            self.held = False
            self.lock.release()


@dataclass(slots=True)
class Slice:
    """One session in one lane: what the heartbeat and the drain need to know of it.

    `kept`: when the claim, or the last renewal that was granted, was sent (monotonic): from then on the lease runs.
    `over`: it ends as soon as it may. `leaving`: what is under way gives the lease back. A renewal overtaken by it finds none, which is no loss.
    """

    session_id: str
    fence: int
    task: "asyncio.Task[object]"
    span: StepSpan = field(default_factory=lambda: StepSpan(""))
    lost: bool = False
    over: bool = False
    leaving: bool = False
    cancel: Cancel | None = None
    performing: bool = False
    stops_for: StopsFor = "graceful"
    interrupted: bool = False
    began: float = field(default_factory=time.monotonic)
    renewed: float = field(default_factory=time.monotonic)
    kept: float = field(default_factory=time.monotonic)
    renewing: bool = False
    steps: int = 0
    turn: Turn | None = None
    watch: Watch | None = None
    counters: dict[str, int] = field(default_factory=dict)
    told_at: float = field(default_factory=time.perf_counter)

    def hear(self, cancel: Cancel) -> None:
        """Take a cancel's word; stop the step that is being performed, where this cancel may (kernel/cancelling.py)."""
        if self.cancel is None or cancel.immediate:
            self.cancel = cancel
        if self.stops_for == "graceful" or (self.stops_for == "immediate" and cancel.immediate):
            self.stop_step()

    def stop_step(self) -> None:
        """Stop the step that is being performed, whatever it does; the slice decides what that means."""
        if self.performing and not self.interrupted:
            self.interrupted = True
            self.task.cancel()


async def make_sure(leases: Leases, mine: Slice, lease_seconds: float) -> None:
    """Return while the lease is surely ours, once it is renewed where that is not sure; raise LeaseLost.

    For what acts outside the store, where no fence refuses it: a process that stood still must not do now what another holder
    has shown a person as uncertain meanwhile.
    """
    now = time.monotonic()
    if now - mine.kept < lease_seconds / 2:
        return
    await leases.renew(mine.session_id, mine.fence)
    mine.kept = now
