"""The app of the benches validates, and its steps count as the benches believe."""

import asyncio

from bench._harness import ROOT
from bench.apps.bench_loop import steps
from orchestrator.app_loader import load_app


def test_the_app_loads() -> None:
    """A bench must not be the first to find out."""
    loop, long = (load_app(ROOT / "bench" / place) for place in ("apps/bench_loop", "apps_long/bench_long"))

    assert [(spec.name, spec.entry_skill) for spec in (loop, long)] == [("bench_loop", "start"), ("bench_long", "call")]


def test_a_session_takes_as_many_steps_as_it_was_asked_for() -> None:
    """Steps a second are only right when the steps are."""

    async def run(of: int) -> tuple[int, object]:
        state: steps.State = {"of": of}
        state |= await steps.start(state)
        count = 1
        while state["signal"] == "again":
            state |= await steps.work(state)
            count += 1
        return count, state["n"]

    assert [asyncio.run(run(of)) for of in (1, 2, 10)] == [(1, 1), (2, 2), (10, 10)]
