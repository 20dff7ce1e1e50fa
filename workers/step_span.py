"""The span of one step: from before it is performed until its commit was answered.

The executor begins and ends it; a step that is lost with its lease is ended by `drop`. While tracing is off nothing is made.
"""

from collections.abc import Sequence

from orchestrator.contracts.session import ASKING, Post, Record
from orchestrator.kernel.change import Change
from orchestrator.telemetry import note
from orchestrator.tracing import OFF, Traced, is_on, session_traceparent, span


class StepSpan:
    """The spans of one slice, one step after the other."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._traced: Traced = OFF

    def begin(self, record: Record, posts: Sequence[Post], attempt: int) -> None:
        """Begin a step's span, and name the step on the lines that it logs."""
        cursor = record.cursor
        note(step=f"{cursor.skill}/{cursor.serial}")
        if not is_on():
            return
        wait = record.wait
        asked = (wait.trace,) if wait is not None else ()
        self._traced = span(
            f"step {cursor.stage}",
            within=session_traceparent(record.session_id, record.trace),
            links=(*asked, *(post.trace for post in posts)),
        )
        self._traced.begin()
        note(trace_id=self._traced.trace_id)
        self._traced.note(
            session_id=record.session_id,
            app=record.app,
            skill=cursor.skill,
            serial=cursor.serial,
            attempt=attempt,
            worker=self._worker,
        )

    def mark(self, change: Change) -> Change:
        """Return a change that asks a person with the span that asks: who goes on links it."""
        wait = change.record.wait
        if self._traced is OFF or wait is None or wait.kind not in ASKING or wait.trace:
            return change
        marked = wait.model_copy(update={"trace": self._traced.traceparent})
        return change._replace(record=change.record.model_copy(update={"wait": marked}))

    def end(self, change: Change, directive: str) -> None:
        """End the span with what the step came to."""
        traced, self._traced = self._traced, OFF
        if traced is OFF:
            return
        error = change.data.get("error")
        if change.outcome == "failed" or "decision" in change.data:
            traced.fail(str(error or change.reason or "failed"), str(change.data.get("message", "")))
        traced.note(step=change.step, outcome=change.outcome, directive=directive, status=change.status)
        traced.end()

    def drop(self) -> None:
        """End a span whose step came to nothing here."""
        traced, self._traced = self._traced, OFF
        if traced is not OFF:
            traced.fail("lost", "the lease was lost, or the slice was stopped")
            traced.end()
