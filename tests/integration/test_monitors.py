"""Monitors: a session a day that looks by its schedule and submits what calls for it, once."""

from collections.abc import Sequence

import pytest

from orchestrator import telemetry
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Monitor
from orchestrator.kernel.cron import next_time
from orchestrator.kernel.monitoring import watch_key
from orchestrator.scheduler import Scheduler
from orchestrator.telemetry import Redactor
from tests.stage import Stage, play
from workers.executor import Executor

DAY = 86_400_000


class NoWakeups:
    """A broker that takes everything and keeps nothing."""

    def send(self, queue: str, session_ids: Sequence[str]) -> None:
        """Take it."""

    def backlog(self, queue: str) -> int:
        """Say that nothing lies there."""
        return 0


async def watching(on: Stage, executor: Executor, *, days_ago: int = 0) -> Record:
    """Return a monitor's session that waits for its first look, or whose day is over.

    It is made on the day of that look: a minute before midnight, that is tomorrow.
    """
    session_id = (await on.client.submit("everything", actor="monitor:watch", entry_skill="watch")).session_id
    skill = on.specs["everything"].skills["watch"]
    assert isinstance(skill, Monitor)
    first = next_time(skill.schedule, await on.store.now_ms())
    assert first is not None
    key = on.store.keys.of_session("record", session_id)
    await on.store.command("HSET", key, "created", first - days_ago * DAY)
    return await on.run(executor, session_id)


async def looks(on: Stage, session_id: str) -> list[object]:
    """Return what came of each look."""
    entries = [entry async for entry in on.client.views.iter_journal(session_id)]
    return [entry.data["look"] for entry in entries if "look" in entry.data]


def test_a_tools_error_is_kept_without_the_secrets_that_were_loaded(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may look at a session may not know what its tools were given."""
    monkeypatch.setenv("EVERYTHING_GAUGE", "broken")
    redactor = Redactor()
    redactor.hide(["gauge is broken"])
    monkeypatch.setattr(telemetry, "_redactor", redactor)

    async def scene(on: Stage) -> None:
        record = await watching(on, executor := on.worker())
        await on.skip_to_due(record.session_id)
        await on.run(executor, record.session_id)

        told = "".join([entry.to_json() async for entry in on.client.views.iter_journal(record.session_id)])
        assert "the [hidden]" in told
        assert "gauge is broken" not in told

    play(store_url, scene)


@pytest.mark.parametrize(
    ("gauge", "came"), [("3", "nothing"), ("11", "submitted"), ("broken", "failed"), ("odd", "not judged")]
)
def test_a_look_submits_a_session_only_where_the_condition_holds(
    store_url: str, monkeypatch: pytest.MonkeyPatch, gauge: str, came: str
) -> None:
    """A gauge that is broken, or shows what the condition cannot read, is told in the journal and does not end the watch."""
    monkeypatch.setenv("EVERYTHING_GAUGE", gauge)

    async def scene(on: Stage) -> None:
        executor = on.worker()
        record = await watching(on, executor)
        assert (record.phase, record.wait and record.wait.kind) == ("waiting", "timer")

        for number in range(1, 3):
            await on.skip_to_due(record.session_id)
            record = await on.run(executor, record.session_id)
            assert record.phase == "waiting"
            assert await looks(on, record.session_id) == [came] * number

        listed = (await on.client.list_sessions(app="everything")).listed
        others = [one.record for one in listed if one.row.session_id != record.session_id]
        assert len(others) == (2 if came == "submitted" else 0)
        for other in others:
            assert (other.cursor.skill, other.actor) == ("last", f"session:{record.session_id}")
            assert '{"value":11}' in other.text

    play(store_url, scene)


def test_a_monitor_ends_with_its_day(store_url: str) -> None:
    """One session a day: its journal is that day's, and none grows for ever."""

    async def scene(on: Stage) -> None:
        record = await watching(on, on.worker(), days_ago=1)

        assert (record.phase, record.status) == ("ended", None)

    play(store_url, scene)


def test_two_schedulers_start_one_session_of_the_day(store_url: str) -> None:
    """Whoever comes second, or is started again, finds the one that is there."""

    async def scene(on: Stage) -> None:
        for name in ("first", "second"):
            scheduler = Scheduler(name, on.store, on.client, NoWakeups(), on.settings, on.specs)
            await scheduler.round()

        listed = (await on.client.list_sessions(app="everything")).listed
        sessions = [one.record for one in listed]
        assert [(one.cursor.skill, one.actor) for one in sessions] == [("watch", "monitor:watch")]

    play(store_url, scene)


@pytest.mark.parametrize("wrong", ["another version", "no such skill"])
def test_a_monitor_that_cannot_begin_stops_no_scheduler(
    store_url: str, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    """A deploy that changes what a monitor begins with meets the session that began today: who sends wake-ups must live on."""

    async def scene(on: Stage) -> None:
        spec = on.specs["everything"]
        name = "watch" if wrong == "another version" else "elsewhere"
        watch = spec.skills["watch"].model_copy(update={"name": name})
        specs = {"everything": spec.model_copy(update={"skills": {**spec.skills, "watch": watch}})}
        key, other = watch_key("watch", await on.store.now_ms()), {"items": ["of another version"]}
        await on.client.submit("everything", overrides=other, actor="monitor:watch", key=key, entry_skill="watch")
        waiting = await on.submit()

        scheduler = Scheduler("new", on.store, on.client, NoWakeups(), on.settings, specs)
        sent = (await scheduler.round()).sent
        await scheduler._watches.look()

        assert waiting in sent
        assert len((await on.client.list_sessions(app="everything")).listed) == 2

    with caplog.at_level("INFO", logger="orchestrator.watches"):
        play(store_url, scene)
    told = [line for line in caplog.messages if line.startswith("monitor ")]
    assert len(told) == 1, "it is told once"
    assert ("which began otherwise" if wrong == "another version" else "not at work today") in told[0]
