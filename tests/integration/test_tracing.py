"""Spans of whole sessions: one trace a session, whichever processes touch it, with links where people came in between."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator import tracing
from orchestrator.contracts.errors import LeaseLost
from orchestrator.settings import Settings
from orchestrator.settings_model import TracingSettings
from orchestrator.tracing_setup import configure_tracing
from tests.stage import Stage, play
from tests.unit.workers.scenes import scene as one_step

pytestmark = pytest.mark.usefixtures("ledger")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Turn tracing on; what ends is found here."""
    made = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(made))
    tracing.switch_on(provider)
    yield made
    tracing.switch_off()


def named(exporter: InMemorySpanExporter, *beginnings: str) -> list[ReadableSpan]:
    """Return the spans whose names begin so, in the order of their beginnings."""
    found = [one for one in exporter.get_finished_spans() if one.name.startswith(beginnings)]
    return sorted(found, key=lambda one: one.start_time or 0)


def trace_of(one: ReadableSpan) -> int:
    """Return a span's trace."""
    assert one.context is not None
    return one.context.trace_id


def attributes(one: ReadableSpan) -> dict[str, object]:
    """Return a span's attributes."""
    return dict(one.attributes or {})


def test_a_session_is_one_trace_across_workers(store_url: str, exporter: InMemorySpanExporter) -> None:
    """Whoever follows a session sees it from submit to its end, whichever process had it."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        await on.run(on.worker(), session_id)
        await on.client.decide(session_id, allow=True, actor="grace")
        record = await on.run(on.worker(), session_id)
        submit, *_ = named(exporter, "submit")
        steps = named(exporter, "step")

        assert record.status == "fine"
        assert submit.context is not None
        assert {trace_of(one) for one in steps} == {trace_of(submit)}
        assert {one.parent.span_id for one in steps if one.parent} == {submit.context.span_id}
        assert record.trace == tracing.write_traceparent(submit.context)
        assert {attributes(one)["baton.worker"] for one in steps} == {"worker-0", "worker-1"}
        assert [attributes(one)["baton.step"] for one in steps][-1] == "finalize"
        assert attributes(steps[-1])["baton.status"] == "fine"
        assert {attributes(one)["baton.session_id"] for one in (submit, *steps)} == {session_id}

    play(store_url, scene)


def test_who_goes_on_after_a_person_links_the_question_and_the_answer(
    store_url: str, exporter: InMemorySpanExporter
) -> None:
    """A pause of days is no span: what came before and who answered are linked."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        await on.run(on.worker(), session_id)
        asking = named(exporter, "step")[-1]
        exporter.clear()
        await on.client.decide(session_id, allow=True, actor="grace")
        await on.run(on.worker(), session_id)
        answer, *_ = named(exporter, "post decision")
        first, *rest = named(exporter, "step")

        assert attributes(asking)["baton.directive"] == "waiting"
        assert [link.context for link in first.links] == [
            trace.SpanContext(
                one.context.trace_id, one.context.span_id, is_remote=True, trace_flags=one.context.trace_flags
            )
            for one in (asking, answer)
            if one.context is not None
        ]
        assert trace_of(answer) != trace_of(first), "the answer is the trace of whoever gave it"
        assert not any(one.links for one in rest)

    play(store_url, scene)


def test_calls_are_below_their_step(store_url: str, exporter: InMemorySpanExporter) -> None:
    """Where a step's time went: the model's, or a tool's."""

    async def scene(on: Stage) -> None:
        await on.run(on.worker(), await on.submit(plan="look"))
        steps = {one.context.span_id: one for one in named(exporter, "step") if one.context is not None}
        calls = named(exporter, "chat", "execute_tool")

        assert {attributes(one).get("gen_ai.tool.name") for one in calls} >= {"hands:look", "hands:finish"}
        assert all(one.parent is not None and one.parent.span_id in steps for one in calls)

    play(store_url, scene)


def test_a_caller_is_linked_and_not_joined(store_url: str, exporter: InMemorySpanExporter) -> None:
    """One trace a session: a request that submits ten must not hold ten of them for days."""

    async def scene(on: Stage) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        with provider.get_tracer("caller").start_as_current_span("request") as request:
            await on.submit(plan="look")
            await on.submit(plan="look")
        first, second = named(exporter, "submit")

        assert len({trace_of(first), trace_of(second), request.get_span_context().trace_id}) == 3
        assert [link.context for link in first.links] == [request.get_span_context()]

    play(store_url, scene)


def test_the_same_submission_is_the_same_whoever_traces_it(store_url: str, exporter: InMemorySpanExporter) -> None:
    """A trace is no part of a request: a repetition after a lost reply must not be refused for it."""

    async def scene(on: Stage) -> None:
        first = await on.client.submit("everything", actor="ada", key="once", entry_skill="start")
        tracing.switch_off()
        again = await on.client.submit("everything", actor="ada", key="once", entry_skill="start")

        assert (again.session_id, again.created) == (first.session_id, False)

    play(store_url, scene)


def test_a_session_that_was_submitted_without_tracing_has_one_trace_too(
    store_url: str, exporter: InMemorySpanExporter
) -> None:
    """The command line need not trace for the workers to do so."""

    async def scene(on: Stage) -> None:
        tracing.switch_off()
        session_id = await on.submit(plan="danger")
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracing.switch_on(provider)
        await on.run(on.worker(), session_id)
        await on.client.decide(session_id, allow=True, actor="grace")
        await on.run(on.worker(), session_id)

        assert len({trace_of(one) for one in named(exporter, "step")}) == 1

    play(store_url, scene)


def test_a_failed_step_says_so_without_a_secret(store_url: str, exporter: InMemorySpanExporter) -> None:
    """A trace goes to another system: what a log may not show, a span may not either."""
    from orchestrator.telemetry import hide

    async def scene() -> None:
        async with one_step(store_url) as on:
            hide("swordfish")
            on.step.error = RuntimeError("no entry for swordfish")
            on.step.go_on.set()
            await on.start(await on.submit())

    asyncio.run(scene())
    failed = named(exporter, "step")[-1]

    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.status.description == "no entry for [hidden]"
    assert attributes(failed)["error.type"] == "RuntimeError"


def test_a_step_whose_lease_is_lost_is_ended(store_url: str, exporter: InMemorySpanExporter) -> None:
    """A span that is never ended is never seen."""

    async def scene() -> None:
        async with one_step(store_url) as on:
            session_id = await on.submit()
            slice_ = on.start(session_id)
            await on.step.began.wait()
            await on.on.lose_lease(session_id)
            on.step.go_on.set()
            assert await slice_ == "lost"

    asyncio.run(scene())
    lost = named(exporter, "step")[-1]

    assert attributes(lost)["error.type"] == "lost"
    assert not trace.get_current_span().get_span_context().is_valid
    assert LeaseLost.__name__ not in str(lost.events)


def test_off_means_nothing_is_made_or_written(store_url: str) -> None:
    """Without tracing a session's record holds nothing of it."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        record = await on.run(on.worker(), session_id)

        assert tracing.span("x") is tracing.OFF
        assert (record.trace, record.wait and record.wait.trace) == ("", "")
        assert await on.store.command("HEXISTS", on.store.keys.of_session("record", session_id), "trace") == 0

    play(store_url, scene)


def run_python(code: str) -> str:
    """Run code in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_off_imports_nothing() -> None:
    """Who does not trace pays for no library."""
    # redis-py looks for the SDK's metrics where the SDK is installed; what it has loaded is not ours.
    code = (
        "import sys, redis.asyncio.connection\n"
        "before = set(sys.modules)\n"
        "import orchestrator.client, orchestrator.tracing_setup as s, orchestrator.settings as c\n"
        "s.configure_tracing(c.Settings().tracing, process='x')\n"
        "print([name for name in set(sys.modules) - before if name.startswith('opentelemetry')])"
    )

    assert run_python(code).strip() == "[]"


def test_settings_turn_it_on_and_what_is_left_is_sent_at_the_end() -> None:
    """A process that ends takes no span along."""
    code = (
        "from orchestrator.settings_model import TracingSettings\n"
        "from orchestrator import tracing, tracing_setup\n"
        "settings = TracingSettings(enabled=True, exporter='console')\n"
        "tracing_setup.configure_tracing(settings, process='cli')\n"
        "with tracing.span('hello') as traced: traced.note(answer=42)\n"
    )
    told = run_python(code)

    assert '"name": "hello"' in told
    assert '"baton.answer": 42' in told
    assert '"service.name": "baton"' in told


def test_a_missing_exporter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is switched on and cannot work is refused, not left out."""
    from orchestrator.contracts.errors import ConfigError

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(ConfigError, match=r"install baton\[otel\]"):
        configure_tracing(TracingSettings(enabled=True), process="worker")
    assert not tracing.is_on()
    assert not Settings().tracing.enabled
