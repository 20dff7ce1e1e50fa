"""Take one session through its steps under one lease: a slice.

    claim -> load -> deliver -> guard -> perform -> settle -> commit -> release

claim    the store's lease; whoever is refused goes away, for the session is somebody's or not due.
load     the app's version that the session is pinned to; without a worker left that has it, ours.
deliver  posts and deadlines are folded into the session.
guard    a cancel, a step limit, a wait that goes on: decided before anything is done.
perform  one step; cancelled when the lease is lost or the session cancelled.
settle   what the step decided, or what its failure means: again later, or a dead letter.
commit   one atomic write under the fence. Refused: the work is dropped, another holder goes on.
         What ends the work is settled in the same write where that can be (settling.py).
release  the lease goes with the commit that ends the slice; without one, it is handed back.

A session with which two holders in a row have died is run alone: of such sessions one at a time in a process, until its
commit. The one that kills its workers then takes no other one along.

A slice drains: it goes on with its session while steps are ready, its budget lasts, or nobody waits for the lane. A worker
that takes the finalizer's queue too settles the session in the same slice; otherwise it hands it on to one that does, as it does
with what needs a sandbox that it has not. Safety rests on the fence alone (store/leases.py); the rest is liveness.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import LeaseLost, PayloadTooLarge, StoreError, StoreUnreachable, Unsettled
from orchestrator.contracts.phases import SETTLED
from orchestrator.contracts.plugins import Queue
from orchestrator.contracts.session import Record
from orchestrator.kernel.budgets import ends_at, time_is_over
from orchestrator.kernel.cancelling import end_stopped, may_stop, stopped, stops_for
from orchestrator.kernel.change import Change, finish, forget_failure
from orchestrator.kernel.delivery import Delivery, deliver
from orchestrator.kernel.plugin_pass import queue_of
from orchestrator.store.due import Due
from orchestrator.store.leases import Cancel, Claimed, ClaimedUnreadable, ClaimRefused, Commit, Committed
from orchestrator.store.unreadable import bury_unreadable
from orchestrator.store.wire import ServerRefused
from orchestrator.telemetry import about, note
from workers.counting import count_claim, count_step
from workers.failures import bury, settle_failure
from workers.host import Host
from workers.leaving import LeftToOthers
from workers.recording import encode
from workers.settling import Joined, join_settling
from workers.slices import Slice, Turn, make_sure
from workers.step_span import StepSpan
from workers.steps import bounds, finalize, stop
from workers.steps.hook_events import tell_after
from workers.steps.hook_run import begin_hooks
from workers.steps.performing import perform_step
from workers.steps.world import AppRuntime, World

log = logging.getLogger(__name__)

#: How long a slice that goes on keeps to itself what it has counted: most steps then write two keys and no more.
COUNT_SECONDS = 1.0

SliceEnd: TypeAlias = Literal["refused", "committed", "lost", "released"]


class Executor:
    """Runs slices for one worker process."""

    def __init__(
        self,
        host: Host,
        *,
        is_contended: Callable[[], bool],
        is_draining: Callable[[], bool],
        finalizes: bool = False,
        steps: bool = True,
        tell_started: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._host = host
        self._tell_started = tell_started
        self._queues = frozenset[Queue]((*(("steps",) if steps else ()), *(("plugins",) if host.plugins else ())))
        self._finalizes = finalizes
        self._is_contended = is_contended
        self._is_draining = is_draining
        self._suspects = asyncio.Lock()
        self._others = LeftToOthers(Due(host.store), host.client.workers)
        self.slices: dict[str, Slice] = {}
        self._claiming: dict[str, bool] = {}
        self.steps = 0

    def call_out(self, session_id: str) -> None:
        """Note that a session was asked to stop, should it be one that we are just claiming."""
        if session_id in self._claiming:
            self._claiming[session_id] = True

    async def run_slice(self, session_id: str) -> SliceEnd:
        """Claim a session and drain it. Raises only what no step can be blamed for."""
        try:
            with about(session_id=session_id):
                return await self._run_slice(session_id)
        except ServerRefused as error:
            # An act failed: on what is stored of this very session, or because the server itself is in trouble.
            if await bury_unreadable(self._host.store, session_id, str(error)):
                return "committed"
            raise
        finally:
            self._claiming.pop(session_id, None)

    async def _run_slice(self, session_id: str, turn: Turn | None = None) -> SliceEnd:
        host, alone = self._host, turn is not None
        holder = host.new_holder()
        known = host.contexts.length(session_id)
        self._claiming[session_id] = False
        asked = time.monotonic()
        claimed = await host.leases.claim(session_id, holder, host.digests, known=known, alone=alone)
        if isinstance(claimed, ClaimRefused) and claimed.answer == "foreign" and await self._may_adopt(claimed):
            claimed = await host.leases.claim(session_id, holder, host.digests, known=known, adopt=True, alone=alone)
        if isinstance(claimed, ClaimRefused):
            if claimed.answer == "suspect":
                return await self._run_alone(session_id)
            if claimed.answer == "buried":
                await self._tell_parent_of_dead(session_id)
            elif claimed.answer in {"newer", "foreign"}:
                await self._others.leave(session_id, claimed)
            elif claimed.answer == "missing":
                await bury_unreadable(host.store, session_id, "a wake-up named it")
            return "refused"
        if isinstance(claimed, ClaimedUnreadable):
            await bury_unreadable(host.store, session_id, claimed.error, fence=claimed.fence)
            return "committed"
        task = asyncio.current_task()
        if task is None:
            raise StoreError("executor: a slice runs inside a task; this is a defect, report it")
        mine = Slice(session_id, claimed.record.fence, task, StepSpan(host.name), kept=asked, turn=turn)
        self.slices[session_id] = mine
        self._tell_started(session_id)
        try:
            if self._claiming.pop(session_id, False):  # called out between the claim and now
                mine.cancel = await host.leases.renew(session_id, mine.fence)
            return await self._drain(mine, claimed)
        except LeaseLost as error:
            log.warning("%s", error)
            host.contexts.forget(session_id)
            return "lost"
        except StoreUnreachable as error:
            # What was under way is unknown. The lease runs out by itself, and the session is rescued.
            log.warning("session %s: given up for now: %s", session_id, error)
            host.contexts.forget(session_id)
            return "lost"
        except asyncio.CancelledError:
            if not mine.lost:
                mine.leaving = True
                await asyncio.shield(host.leases.release(session_id, mine.fence))
                return "released"
            return "lost"
        finally:
            self.slices.pop(session_id, None)
            mine.span.drop()
            if mine.watch is not None:
                mine.watch.close()

    async def _run_alone(self, session_id: str) -> SliceEnd:
        """Wait, without a lease, until no other suspect runs here; then claim it. By then another process may have it."""
        log.warning("session %s: its last holders died; it is run alone", session_id)
        self._tell_started(session_id)  # whoever waits for its turn holds up nobody
        await self._suspects.acquire()
        turn = Turn(self._suspects)
        try:
            return await self._run_slice(session_id, turn)
        finally:
            turn.end()

    async def _may_adopt(self, refused: ClaimRefused) -> bool:
        """A session of another version is ours to move only when we have its app, and no live worker its version."""
        if refused.app not in self._host.apps:
            return False
        members = await self._host.client.workers()
        return not any(refused.detail in info.digests.values() for info in members)

    async def _drain(self, mine: Slice, claimed: Claimed) -> SliceEnd:
        host = self._host
        record = claimed.record
        app = host.apps[record.app]
        note(app=record.app)
        if record.cursor.skill not in app.spec.skills:
            detail = f"{record.app} has no skill {record.cursor.skill!r} any more; give it back, then replay"
            mine.leaving = True
            await bury(host, record.session_id, record.fence, record.rev, "unknown_skill", detail)
            return "committed"
        if app.digest != record.spec:
            record = record.model_copy(update={"spec": app.digest})
        world = host.new_world(app, claimed)
        mine.watch = world.watch
        world.hold = partial(make_sure, host.leases, mine, host.settings.lease.seconds)
        posts = claimed.posts
        attempt, rev = record.attempts, record.rev
        count_claim(mine.counters, claimed)
        committed_record = claimed.record
        while True:
            mine.span.begin(record, posts, attempt)
            delivery = deliver(app.spec, record, posts, world.now())
            change = self._guard(app.spec, mine, delivery, world)
            started = time.perf_counter()
            world.hooks = begin_hooks(app.hooks, app.spec, record, delivery.record, world.now)
            if change is None:
                world.delivered = delivery.messages
                change = await self._perform(mine, app, world, delivery.record)
            if change.outcome == "cancelled" or change.record.cursor.stop == "over_budget":
                change = await stop.tell_of_cancel(world, record, change)
            if world.hooks is not None:
                change = await tell_after(world.hooks, change)
            change = mine.span.mark(forget_failure(_with_delivery(change, delivery)))
            directive = change.directive
            queue = queue_of(app.spec, change.record)
            if queue != change.record.queue:
                change = change._replace(record=change.record.model_copy(update={"queue": queue}))
            held = host.is_paused(record.app, queue)
            is_over = held or self._slice_is_over(mine) or not self._takes(queue)
            # What is announced is called by this very holder: another one could not know that nobody has begun it.
            if directive == "continue" and is_over and not change.intents:
                directive = "ready"  # type: ignore[assignment]
            keep = directive == "finalizing" and self._finalizes and not self._slice_is_over(mine)
            now = time.perf_counter()
            count_step(mine.counters, change, now - started)
            tells = directive != "continue" or bool(change.counters) or now - mine.told_at > COUNT_SECONDS
            commit = encode(
                committed_record,
                change,
                directive,
                delivery,
                attempt=attempt,
                actor=host.name,
                seconds=now - started,
                sent_ms=host.resend_ms,
                counters=mine.counters if tells else None,
                keep=keep,
                ends_at=ends_at(app.spec, change.record),
            )
            joined = join_settling(world, change, commit, actor=host.name) if keep else None
            mine.leaving = directive != "continue" and not keep
            try:
                if joined is None:
                    done = await host.leases.commit(mine.session_id, mine.fence, rev, commit)
                else:
                    done = await self._commit(mine, rev, commit, joined)
            except PayloadTooLarge as error:
                mine.leaving = True
                await bury(host, record.session_id, record.fence, rev, "too_large", str(error))
                return "committed"
            self.steps += 1
            mine.steps += 1
            mine.span.end(change, directive)
            if tells:
                mine.counters, mine.told_at = {}, now
            if mine.turn is not None:
                mine.turn.end()
            for call in change.intents:
                world.intents[call.call_id] = call
                world.announced.add(call.call_id)
            for call_id in change.cleared:
                world.intents.pop(call_id, None)
                world.announced.discard(call_id)
            if joined is not None and done.phase == "ended":
                mine.span.begin(joined.settling.record, (), 1)
                mine.span.end(joined.settling, "ended")
                self.steps += 1
                host.contexts.forget(record.session_id)
                return "committed"
            host.contexts.append(record.session_id, commit.messages)
            if not keep and (done.phase != "running" or directive != "continue"):
                if done.phase in SETTLED:
                    host.contexts.forget(record.session_id)
                if done.phase in {"ready", "finalizing"} and not held:
                    host.wake_later(record.session_id, "plugins" if queue == "plugins" else done.phase)
                elif done.phase == "dead":
                    await self._tell_parent_of_dead(record.session_id)
                return "committed"
            record, rev, attempt = change.record, rev + 1, 1
            if keep:
                record = record.model_copy(update={"phase": "finalizing"})
            if done.cancel and record.cancel is None:
                record = record.model_copy(update={"cancel": done.cancel})
            committed_record = record
            read = await host.read_posts(record.session_id) if done.posts else ()
            # A post that cannot be read ends the slice: it is a newer Baton's, or the next claim buries the session.
            mine.over, posts = mine.over or read is None, read or ()

    async def _commit(self, mine: Slice, rev: int, commit: Commit, joined: Joined) -> Committed:
        """Commit a step with the settling that goes with it; without, where somebody has spoken or its entry is too large."""
        mine.leaving = True
        try:
            return await self._host.leases.commit(mine.session_id, mine.fence, rev, joined.commit)
        except (Unsettled, PayloadTooLarge):
            mine.leaving = False
        return await self._host.leases.commit(mine.session_id, mine.fence, rev, commit)

    def _takes(self, queue: Queue) -> bool:
        """Say whether this worker performs steps of that queue: those that run plugins, or the rest."""
        return queue in self._queues

    def _slice_is_over(self, mine: Slice) -> bool:
        if self._is_draining() or mine.over:
            return True
        if not self._is_contended():
            return False
        lanes = self._host.settings.lanes
        return mine.steps >= lanes.drain_steps or time.monotonic() - mine.began > lanes.drain_seconds

    def _guard(self, spec: AppSpec, mine: Slice, delivery: Delivery, world: World) -> Change | None:
        """Return the change that needs no step, or None where there is one to perform."""
        record = delivery.record
        cursor = record.cursor
        if record.phase == "finalizing":
            return None
        cancel = mine.cancel or (Cancel(record.cancel, record.cancel_immediate) if record.cancel else None)
        if cancel is not None and may_stop(record, immediate=cancel.immediate):
            record = stopped(record, "cancelled", cancel.reason, immediate=cancel.immediate)
        if record.cursor.stage == "end":
            return end_stopped(record, world.intents, world.announced, world.begun)
        wait = record.wait
        if wait is not None and not (
            (wait.kind == "child" and wait.deadline_at is not None and wait.deadline_at <= world.now())
            or time_is_over(spec, record, world.now())
        ):
            return Change(record=record, step="wait", directive="waiting", outcome="suspended")
        if cursor.serial >= spec.max_steps:
            reason = f"{cursor.serial} steps; the app allows {spec.max_steps}"
            return Change(
                record=record, step="wait", directive="dead", outcome="failed", reason="step_limit", detail=reason
            )
        if (
            cursor.stop == "escalated"
            and cursor.stage == "tools"
            and not cursor.calls
            and spec.escalate_action_tool_name is None
        ):
            return finish(record, "wait")
        queue = queue_of(spec, record)
        if not self._takes(queue):  # its wake-up came to the wrong worker: into the other line with it
            return Change(record=record, step="wait", outcome="snoozed", data={"queue": queue})
        return None

    async def _perform(self, mine: Slice, app: AppRuntime, world: World, record: Record) -> Change:
        """Perform one step. `stop_step` stops it without stopping the slice, and without a task of its own a step."""
        mine.stops_for = stops_for(app.spec, record)
        mine.performing = True
        try:
            try:
                return await bounds.perform(world, record, perform_step)
            except asyncio.CancelledError as error:
                if mine.task.cancelling():
                    raise
                # Nobody asked: handed back, the session would be begun again for ever, and no attempt would count.
                raise RuntimeError(
                    "the step gave up: what it awaits was cancelled, and not by us; mend its code"
                ) from error
        except asyncio.CancelledError:
            if not mine.interrupted or mine.task.cancelling() > 1:  # the slice itself is stopped: no more time
                raise
            if mine.lost or mine.cancel is None:
                raise LeaseLost(mine.session_id, mine.fence) from None
            record = stopped(record, "cancelled", mine.cancel.reason, immediate=mine.cancel.immediate)
            return end_stopped(record, world.intents, world.announced, world.begun, world.last_words)
        except (LeaseLost, StoreUnreachable):
            raise
        except Exception as error:  # the edge of the app's own code: recorded in the journal, retried or buried
            if log.isEnabledFor(logging.DEBUG):
                log.debug("step failed", exc_info=error)
            change = settle_failure(
                app.spec, record, error, world.now(), self._host, trace=traceback.format_exc(limit=-6)
            )
            if record.phase == "finalizing" and change.directive == "waiting":
                raise  # nothing but an end follows finalizing: its lease runs out, and its attempts count
            if world.hooks is not None:
                world.hooks.failure = error
            if world.unsent:  # announced, and surely not made: it is announced anew, and nobody is asked about it
                change, world.unsent = change._replace(cleared=(*change.cleared, *world.unsent)), []
            return change
        finally:
            if mine.interrupted:
                mine.task.uncancel()
            mine.performing = mine.interrupted = False

    async def _tell_parent_of_dead(self, session_id: str) -> None:
        record = await self._host.client.show(session_id)
        if record.parent is not None and not record.forked_at:
            await finalize.tell_parent(self._host.client, record.parent, record, status="", phase="dead")


def _with_delivery(change: Change, delivery: Delivery) -> Change:
    """Put the messages of the posts before the step's own."""
    if not delivery.messages:
        return change
    return change._replace(messages=(*delivery.messages, *change.messages))
