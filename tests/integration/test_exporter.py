"""The page that Prometheus reads, over a real store: what it says is what happened."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.exporter import METRICS, render
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.store import Store
from tests.stage import Stage, play

pytestmark = pytest.mark.usefixtures("ledger")


def read(page: str) -> dict[str, float]:
    """Return the samples of a page."""
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_sessions_steps_and_ends_are_told(store_url: str) -> None:
    """The figures are the store's own: no process that has counted need live any more."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="look", answer="ok")
        await on.run(on.worker(), session_id)
        found = read(await render(on.client))

        assert found["baton_store_up"] == 1
        assert found['baton_sessions_submitted_total{app="everything"}'] == 1
        assert found['baton_sessions_ended_total{app="everything",status="fine"}'] == 1
        assert found['baton_sessions{app="everything",phase="ended"}'] == 1
        turns = 'kind="agent_turn",outcome="succeeded"'
        steps = found[f"baton_steps_seconds_count{{{turns}}}"]
        assert steps == found[f'baton_steps_seconds_bucket{{{turns},le="+Inf"}}'] > 0
        assert found[f"baton_steps_seconds_sum{{{turns}}}"] > 0
        assert found['baton_line_seconds_count{line="steps"}'] >= 1
        assert found['baton_tool_calls_total{outcome="executed"}'] == 3

    play(store_url, scene)


def test_who_asks_a_person_is_told_until_the_answer(store_url: str) -> None:
    """The alert about approvals must go off without a look at every session that waits for something else."""

    async def scene(on: Stage) -> None:
        asks, oldest = (
            f'baton_waits_for_people{word}{{app="everything",kind="approval"}}' for word in ("", "_oldest_seconds")
        )
        session_id = await on.submit(plan="danger")
        await on.run(on.worker(), session_id)
        asked = read(await render(on.client))
        await on.client.decide(session_id, allow=True, actor="grace")
        answered = read(await render(on.client))

        assert (asked[asks], answered[asks], answered[oldest]) == (1, 0, 0)
        assert asked[oldest] >= 0

    play(store_url, scene)


def test_a_line_has_an_age(store_url: str) -> None:
    """How long the first in line stands there is what says that workers are missing."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit()
        by = on.store.keys.of_session("by", session_id)
        since = (await on.client.show(session_id)).since_at
        old = f"everything:ready:1:{since - 90_000}:{session_id}"
        await on.store.command("ZREM", by, f"everything:ready:1:{since}:{session_id}")
        await on.store.command("ZADD", by, 0, old)
        found = read(await render(on.client))

        assert found['baton_line_oldest_seconds{app="everything",line="steps"}'] >= 90
        assert found['baton_line_oldest_seconds{app="everything",line="plugins"}'] == 0

    play(store_url, scene)


def test_orphans_dead_letters_and_overdue_waits_are_told(store_url: str) -> None:
    """What an operator is woken for must be in the figures."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="look")
        claimed = await on.worker()._host.leases.claim(session_id, "w:1", on.hosts[0].digests)
        assert not isinstance(claimed, str)
        key = on.store.keys.of_session("leases", session_id)
        await on.store.command("ZADD", key, "XX", 1, session_id)
        before = read(await render(on.client))
        assert await on.due.rescue(session_id)
        await on.store.command("ZADD", on.store.keys.of_session("due", session_id), 1, session_id)
        after = read(await render(on.client))

        assert (before["baton_leases_expired"], after["baton_leases_expired"]) == (1, 0)
        assert (before["baton_orphans_total"], after["baton_orphans_total"]) == (0, 1)
        assert after["baton_due_overdue"] == 1
        assert after["baton_due_overdue_seconds"] > 1_000_000

    play(store_url, scene)


def test_the_fleet_is_told_in_sums(store_url: str) -> None:
    """A label a process would be a new series at every restart."""

    async def scene(on: Stage) -> None:
        fleet = on.client.fleet
        await fleet.beat(
            WorkerInfo(name="a:1:x", slots=4, running=3, loop_lag_ms=80, rss_bytes=10, digests={"one": "v1"})
        )
        await fleet.beat(WorkerInfo(name="b:2:y", slots=4, draining=True, rss_bytes=30, digests={"one": "v2"}))
        await fleet.beat(WorkerInfo(name="c:3:z", kind="scheduler"))
        found = read(await render(on.client))

        assert found['baton_processes{kind="worker"}'] == 2
        assert found['baton_processes{kind="scheduler"}'] == 1
        assert found["baton_workers_draining"] == 1
        assert found['baton_worker_slots{line="steps"}'] == 8
        assert found['baton_worker_memory_bytes{of="largest"}'] == 30
        assert found["baton_worker_loop_lag_seconds"] == 0.08
        assert found['baton_app_versions{app="one"}'] == 2
        assert abs(found['baton_clock_ahead_seconds{extreme="most"}']) < 5

    play(store_url, scene)


def test_no_label_holds_a_session(store_url: str) -> None:
    """A label with a million values is the end of a metrics server."""

    async def scene(on: Stage) -> None:
        for plan in ("look", "danger", "unknown_tool"):
            await on.run(on.worker(), await on.submit(plan=plan))
        page = await render(on.client)

        assert not re.search(r"\d{8}-\d{3}", page)
        assert set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)) <= set(METRICS)

    play(store_url, scene)


def test_a_store_that_is_away_is_told_and_no_error(tmp_path: Path) -> None:
    """Prometheus must hear that the store is down, and not only that the exporter is."""
    from orchestrator.client import Client

    async def ask() -> str:
        client = Client(Store(f"unix://{tmp_path}/none.sock", patience_seconds=0.1), {})
        try:
            return await render(client)
        finally:
            await client.aclose()

    assert "baton_store_up 0\n" in asyncio.run(ask())


def test_the_page_is_what_prometheus_takes(store_url: str) -> None:
    """Its own linter reads every line."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; it is in Debian's package prometheus")

    async def scene(on: Stage) -> None:
        await on.run(on.worker(), await on.submit(plan="look"))
        pages.append(await render(on.client))

    pages: list[str] = []
    play(store_url, scene)
    done = subprocess.run([promtool, "check", "metrics"], input=pages[0], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
