"""A worker that takes the finalizer's queue settles its session itself; a wake-up for what it just held is not lost."""

import asyncio
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import PayloadTooLarge
from orchestrator.contracts.event_names import CANCEL_COMPLETED
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Post, Record
from orchestrator.kernel.change import Change
from orchestrator.kernel.rebuild import find_differences, fold
from orchestrator.store.leases import Commit
from tests.unit.workers.scenes import PLAIN, Scene, scene
from workers import settling as settling_module
from workers.lanes import Lanes
from workers.settling import join_settling
from workers.steps.world import World


@pytest.fixture
def plain_spec() -> AppSpec:
    """Return the scene's app."""
    return load_app(PLAIN)


def settling(on: Scene) -> Scene:
    """Let the scene's executor settle what it brings to its end."""
    on.executor._finalizes = True
    on.step.go_on.set()
    return on


def test_the_slice_that_ends_the_work_settles_the_session(store_url: str) -> None:
    """Under the lease that it holds anyway: no second claim, no message, and the status is there at once."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()

            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            steps = [entry async for entry in on.on.client.events(session_id) if entry.kind == "step"]
            assert record.phase == "ended"
            assert steps[-1].step == "finalize"
            assert len({entry.fence for entry in steps}) == 1
            assert on.on.woken == []

    asyncio.run(play())


def test_work_and_settling_are_two_steps_of_one_commit(store_url: str) -> None:
    """Whoever finds the status finds the work before it in the journal, each with its revision."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            on.step.result = {"n": 7}
            session_id = await on.submit(n=1)
            commits = watch_commits(on)

            await on.executor.run_slice(session_id)

            record = await on.on.client.show(session_id)
            steps = [entry async for entry in on.on.client.events(session_id) if entry.kind == "step"]
            assert [(told.directive, told.settles, len(told.entries)) for told in commits] == [("ended", True, 2)]
            assert [entry.set.get("phase") for entry in steps] == ["finalizing", "ended"]
            assert [entry.step for entry in steps] == ["compute", "finalize"]
            assert (record.rev, record.seq, record.state) == (2, 3, {"n": 7})
            assert find_differences(record, (), 0, fold(await journal(on, session_id))) == []
            assert on.executor.steps == 2
            assert on.host.contexts.messages(session_id) is None, "what has ended needs no room"

    asyncio.run(play())


def test_both_steps_are_counted(store_url: str) -> None:
    """A dashboard that lost every second finalize would show a queue that nobody works on."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()
            commits = watch_commits(on)

            await on.executor.run_slice(session_id)

            counted = commits[0].counters or {}
            assert {name.rsplit(":", 1)[0] for name in counted if name.startswith("step:")} == {
                "step:compute:succeeded",
                "step:finalize:succeeded",
            }

    asyncio.run(play())


@pytest.mark.parametrize(
    ("post", "noted"),
    [
        (Post(post_id="p", kind="signal", name="hello", actor="al"), "ignored: the session's work is done"),
        (Post(post_id="p", kind="cancel", text="enough", actor="al"), None),
    ],
)
def test_what_is_said_at_the_last_moment_is_heard(store_url: str, post: Post, noted: str | None) -> None:
    """Between the look at the mailbox and the commit: then the settling is a step of its own, and says what became of it."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()
            commit = on.host.leases.commit
            posted = False

            async def speak_first(*args: Any) -> Any:
                nonlocal posted
                if not posted:
                    posted = True
                    await on.on.client.intake.post(session_id, post)
                return await commit(*args)

            on.host.leases.commit = speak_first  # type: ignore[method-assign]
            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            steps = [entry async for entry in on.on.client.events(session_id) if entry.kind == "step"]
            assert record.phase == "ended"
            assert [entry.step for entry in steps] == ["compute", "finalize"]
            last = steps[-1].data
            if noted is not None:
                assert [line["what"] for line in last["posts"]] == [noted]  # type: ignore[index,call-overload,union-attr]
            else:
                assert last["event"] == CANCEL_COMPLETED
            assert find_differences(record, (), 0, fold(await journal(on, session_id))) == []

    asyncio.run(play())


def test_a_settling_that_fails_does_not_take_the_work_along(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is committed by itself then; the failure is the settling's own, and is recorded there."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise LookupError("no such status")

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            on.step.result = {"n": 7}
            session_id = await on.submit(n=1)
            monkeypatch.setattr(settling_module, "settle_session", fail)

            assert await on.executor.run_slice(session_id) == "committed"

            record = await on.on.client.show(session_id)
            assert (record.phase, record.state) == ("ended", {"n": 7})

    asyncio.run(play())


def test_a_settling_that_is_too_large_does_not_take_the_work_along(store_url: str) -> None:
    """The work is in the journal; what buries the session is the settling alone."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            on.step.result = {"n": 7}
            session_id = await on.submit(n=1)
            commit = on.host.leases.commit

            async def refuse_the_end(*args: Any) -> Any:
                if args[3].directive == "ended":
                    raise PayloadTooLarge(f"session {session_id}: journal entry", 2, 1)
                return await commit(*args)

            on.host.leases.commit = refuse_the_end  # type: ignore[method-assign]
            await on.executor.run_slice(session_id)

            record = await on.on.client.show(session_id)
            assert (record.phase, record.reason, record.state) == ("dead", "too_large", {"n": 7})

    asyncio.run(play())


@pytest.mark.parametrize("directive", ["parent", "cancel", "intent"])
def test_what_has_to_happen_in_between_keeps_them_apart(directive: str) -> None:
    """A parent is told of an end that is certain, who cancelled too late is told so, and what is announced is made first."""
    record = Record(session_id="S-20260101-001", app="a", spec="d", phase="running", cursor=Cursor(skill="s"))
    call = PendingCall(call_id="c", tool="t")
    parts: dict[str, Any] = {"parent": {"parent": "S-20260101-000"}, "cancel": {"cancel": "enough"}}.get(directive, {})
    change = Change(record.model_copy(update=parts), "compute", "finalizing")
    if directive == "intent":
        change = change._replace(intents=(call,))
    world = cast("World", SimpleNamespace(hooks=None, intents={}, spec=None))

    assert join_settling(world, change, Commit("finalizing", {}), actor="w") is None


def test_hooks_speak_at_a_settling_of_its_own() -> None:
    """They may ask a person, and are told of a session that has come to its end."""
    record = Record(session_id="S-20260101-001", app="a", spec="d", phase="running", cursor=Cursor(skill="s"))
    world = cast("World", SimpleNamespace(hooks=object(), intents={}, spec=None))

    assert join_settling(world, Change(record, "compute", "finalizing"), Commit("finalizing", {}), actor="w") is None


def test_calls_that_the_last_step_settles_are_not_open(plain_spec: AppSpec) -> None:
    """The settling tells of what is without an outcome after the step that it goes with."""
    record = Record(session_id="S-20260101-001", app="plain", spec="d", phase="running", cursor=Cursor(skill="work"))
    call = PendingCall(call_id="c", tool="t")
    world = cast("World", SimpleNamespace(hooks=None, intents={"c": call, "d": call}, spec=plain_spec))
    change = Change(record, "tool_calls", "finalizing", cleared=("c",))

    joined = join_settling(world, change, Commit("finalizing", {}), actor="w")

    assert joined is not None
    assert joined.settling.data["open_intents"] == ["d"]


def test_calls_without_an_outcome_are_told_in_either_case(store_url: str) -> None:
    """Announced, and nobody can say whether they acted: a person must be able to see it in how the session ended."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()
            key = on.host.store.keys.of_session("intents", session_id)
            call = PendingCall(call_id="c1", tool="t")
            await on.host.store.command("HSET", key, "c1", call.to_json())

            await on.executor.run_slice(session_id)

            steps = [entry async for entry in on.on.client.events(session_id) if entry.kind == "step"]
            assert steps[-1].data["open_intents"] == ["c1"]

    asyncio.run(play())


def test_a_worker_that_dies_before_it_commits_is_succeeded(store_url: str) -> None:
    """Neither the work nor the end is there: the lease runs out like any other, and the next holder does both."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()
            await die_at_the_end(on, session_id)
            assert (await on.on.client.show(session_id)).phase == "running"

            await succeed(on, session_id)

            assert on.step.runs == 2

    asyncio.run(play())


def test_a_worker_that_dies_before_it_settles_is_succeeded(store_url: str) -> None:
    """Where they are two commits, the lease that was kept runs out; the next holder finds a session to settle."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            session_id = await on.submit()
            await on.on.client.cancel(session_id, reason="enough", actor="al")  # a cancel that is known: two commits
            await die_at_the_end(on, session_id)
            assert (await on.on.client.show(session_id)).phase == "finalizing"

            await succeed(on, session_id)

    asyncio.run(play())


async def die_at_the_end(on: Scene, session_id: str) -> None:
    """Run a slice in a worker that dies instead of committing the session's end."""
    commit = on.host.leases.commit
    died = False

    async def die_before_the_end(*args: Any) -> Any:
        nonlocal died
        if args[3].directive == "ended" and not died:
            died = True
            raise asyncio.CancelledError
        return await commit(*args)

    on.host.leases.commit = die_before_the_end  # type: ignore[method-assign]
    on.host.leases.release = lambda *_: asyncio.sleep(0)  # type: ignore[assignment,method-assign]  # it is dead
    await on.executor.run_slice(session_id)


async def succeed(on: Scene, session_id: str) -> None:
    """Let the dead worker's lease run out, and another holder take the session to its end."""
    store = on.host.store
    assert await on.executor.run_slice(session_id) == "refused"  # somebody holds it, as far as anyone can tell

    await store.command("ZADD", store.keys.of_session("leases", session_id), "XX", 1, session_id)
    assert await on.executor.run_slice(session_id) == "committed"

    assert (await on.on.client.show(session_id)).phase == "ended"


def watch_commits(on: Scene) -> list[Commit]:
    """Return a list to which every commit is added."""
    commit, seen = on.host.leases.commit, list[Commit]()

    async def see(*args: Any) -> Any:
        seen.append(args[3])
        return await commit(*args)

    on.host.leases.commit = see  # type: ignore[method-assign]
    return seen


async def journal(on: Scene, session_id: str) -> list[Entry]:
    """Return a session's whole journal."""
    return [entry async for entry in on.on.client.events(session_id)]


def test_a_drain_hands_the_settling_on(store_url: str) -> None:
    """A worker that is told to end begins no further step, this one included."""

    async def play() -> None:
        async with scene(store_url) as lent:
            on = settling(lent)
            on.draining = True
            session_id = await on.submit()

            await on.executor.run_slice(session_id)

            assert (await on.on.client.show(session_id)).phase == "finalizing"
            assert on.on.woken == [session_id]

    asyncio.run(play())


def test_a_wake_up_for_a_session_in_a_lane_is_looked_at_afterwards() -> None:
    """It may be for what came after that slice's claim was refused: dropped, it would come again only after seconds."""

    async def play() -> None:
        seen: list[str] = []
        gate = asyncio.Event()

        async def run(session_id: str) -> None:
            seen.append(session_id)
            await gate.wait()

        lanes = Lanes(2, run)
        lanes.start(asyncio.get_running_loop())
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-001"])
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-001", "S-20260101-001"])
        gate.set()
        await lanes.drain(5)

        assert seen == ["S-20260101-001"]  # draining takes nothing new

        lanes.draining = False
        gate.clear()
        seen.clear()
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-002"])
        await asyncio.to_thread(lanes.hand_over, ["S-20260101-002", "S-20260101-002"])
        gate.set()
        while lanes.held:  # noqa: ASYNC110 - the loop only lets the lanes go on
            await asyncio.sleep(0)
        assert seen == ["S-20260101-002", "S-20260101-002"]

    asyncio.run(play())
