"""Spans of what sessions do: one trace a session, across every process that touches it.

Submitting begins the trace, and the record carries its `traceparent`; each step is a span below it, wherever it runs. What
comes from outside the session - who submitted it, who answered - is linked, not joined: a trace that waits three days for a
person would be two people's. A step that goes on after a person's word links the step that asked, and the answer.

Off, this costs a comparison: no library is imported, and every span is the same one that does nothing. `tracing_setup` turns
it on with the SDK. No value of a session is put into a span, only names, ids and what came of it.
"""

from collections.abc import Iterable
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from orchestrator.telemetry import redact

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext, Tracer, TracerProvider

Attribute: TypeAlias = str | int | float | bool

MESSAGE_CHARS: Final = 300

_tracer: "Tracer | None" = None


def switch_on(provider: "TracerProvider") -> None:
    """Send spans to this provider from now on."""
    from orchestrator import __version__

    global _tracer  # noqa: PLW0603 - one process, one place where its spans go
    _tracer = provider.get_tracer("baton", __version__)


def switch_off() -> None:
    """Make no span any more."""
    global _tracer  # noqa: PLW0603 - see switch_on
    _tracer = None


def is_on() -> bool:
    """Say whether spans are made."""
    return _tracer is not None


class Traced:
    """One span, current inside its `with` block. The one that does nothing is `OFF`."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: "Span | None") -> None:
        self._span = span
        self._token: Token[Context] | None = None

    @property
    def traceparent(self) -> str:
        """The span as others refer to it (W3C Trace Context), empty while tracing is off."""
        return "" if self._span is None else write_traceparent(self._span.get_span_context())

    @property
    def trace_id(self) -> str:
        """The trace's id as logs show it, empty while tracing is off."""
        return "" if self._span is None else f"{self._span.get_span_context().trace_id:032x}"

    def note(self, **attributes: Attribute) -> None:
        """Add attributes, each as `baton.NAME`; empty ones are left out."""
        if self._span is not None:
            self._span.set_attributes({f"baton.{name}": value for name, value in attributes.items() if value != ""})

    def fail(self, kind: str, message: str = "") -> None:
        """Say that what the span is about went wrong."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR, redact(message)[:MESSAGE_CHARS] or kind))

    def begin(self) -> None:
        """Make it the current span."""
        if self._span is not None:
            from opentelemetry import context
            from opentelemetry.trace import set_span_in_context

            self._token = context.attach(set_span_in_context(self._span))

    def end(self) -> None:
        """End it, in the task that began it; a second time does nothing."""
        if self._span is not None and self._token is not None:
            from opentelemetry import context

            context.detach(self._token)
            self._token = None
            self._span.end()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(type(error).__name__, str(error))
        self.end()


OFF: Final = Traced(None)


def span(
    name: str,
    *,
    within: str | None = None,
    is_root: bool = False,
    links: Iterable[str] = (),
    attributes: dict[str, Attribute] | None = None,
) -> Traced:
    """Return a span to be entered: below the current one, below the traceparent `within`, or a trace of its own.

    A root links the span that was current. `links` are traceparents; what is none is passed over. `attributes` have whole names.
    """
    if _tracer is None:
        return OFF
    from opentelemetry import trace
    from opentelemetry.context import Context

    linked = [link for text in links if (link := _link(text)) is not None]
    context: Context | None = None
    if is_root:
        context = Context()
        caller = trace.get_current_span().get_span_context()
        if caller.is_valid:
            linked.append(trace.Link(caller))
    elif within is not None and (parent := read_traceparent(within)) is not None:
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    return Traced(_tracer.start_span(name, context=context, links=linked, attributes=attributes))


def session_traceparent(session_id: str, traceparent: str) -> str:
    """Return the traceparent of a session's record, or one made of its id where it was submitted without tracing.

    >>> session_traceparent("S-20260101-001", "")
    '00-1e738568407d131932324d705291a49b-83e74dc35e293a9d-01'
    """
    if traceparent:
        return traceparent
    digest = sha256(session_id.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def write_traceparent(context: "SpanContext") -> str:
    """Write a span's context as W3C Trace Context does."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def read_traceparent(text: str) -> "SpanContext | None":
    """Read a traceparent; None for what is none."""
    from opentelemetry.trace import SpanContext, TraceFlags

    parts = text.split("-")
    if len(parts) != 4 or [len(part) for part in parts] != [2, 32, 16, 2]:
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:])
    except ValueError:
        return None
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return found if found.is_valid else None


def _link(text: str) -> "Link | None":
    from opentelemetry.trace import Link

    found = read_traceparent(text)
    return None if found is None else Link(found)
