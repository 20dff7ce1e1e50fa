"""Cancels, over a real store: what runs, what waits, what stands in line, and the children of all three."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.errors import PhaseRefused
from orchestrator.kernel.dispatching import plan_dispatch
from orchestrator.settings import Settings
from tests.halting import HALTING, Halting, halting
from tests.stage import Stage

Play = Callable[[Halting], Awaitable[None]]
WORKSHOP = Path(__file__).parents[1] / "apps" / "workshop"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file outside the store in which the tools note what they did."""
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("HALTING_LEDGER", str(path))
    return path


def play(url: str, scene: Play) -> None:
    """Run a scene on a stage of its own."""

    async def run() -> None:
        async with halting(url) as made:
            await scene(made)

    asyncio.run(run())


def test_a_graceful_cancel_lets_the_running_call_finish_and_makes_no_other(store_url: str, ledger: Path) -> None:
    """What acts comes to its end and counts; what was not begun never happens, and its model is told so."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit(plan="strikes")
        running = asyncio.create_task(on.run(session_id))
        assert await on.tools.begun.get() == "strike 1"
        await on.on.client.cancel(session_id, actor="ada", reason="enough")
        await on.heartbeat.renew_all()
        assert on.tools.stopped == []
        on.tools.go_on.set()

        record = await running

        assert (record.phase, record.status, record.reason) == ("ended", "called_off", "cancelled")
        assert ledger.read_text() == "strike 1\n"
        assert await on.ends(session_id) == ["executed", "cancelled", "cancelled"]
        assert await on.events(session_id) == [
            {"event": "cancel:requested"},
            {"event": "cancel:completed", "was_immediate": False},
        ]
        assert await on.on.client.intents(session_id) == {}
        await on.check(session_id)

    play(store_url, scene)


def test_calls_that_only_read_finish_under_a_graceful_cancel_too(store_url: str, ledger: Path) -> None:
    """Both were under way; their results are in the state, and the third call is not made."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit(plan="looks")
        running = asyncio.create_task(on.run(session_id))
        assert {await on.tools.begun.get(), await on.tools.begun.get()} == {"look 1", "look 2"}
        await on.on.client.cancel(session_id, actor="ada")
        await on.heartbeat.renew_all()
        on.tools.go_on.set()

        record = await running

        assert record.state["seen"] == [1, 2]
        assert await on.ends(session_id) == ["executed", "executed", "cancelled"]
        await on.check(session_id)

    play(store_url, scene)


@pytest.mark.parametrize("first", ["graceful", "nothing"])
@pytest.mark.parametrize(
    ("plan", "begun", "effect"), [("strikes", 1, "strike 1"), ("looks", 2, ""), ("put", 1, "put 1")]
)
def test_an_immediate_cancel_waits_for_nothing(
    store_url: str, ledger: Path, plan: str, begun: int, effect: str, first: str
) -> None:
    """What runs is left. Nobody knows whether it acted, so its intent stays and the end names it; also after a milder word."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit(plan=plan)
        running = asyncio.create_task(on.run(session_id))
        for _ in range(begun):
            await on.tools.begun.get()
        if first == "graceful":
            await on.on.client.cancel(session_id, actor="ada", reason="please")
            await on.heartbeat.renew_all()
        await on.on.client.cancel(session_id, actor="ada", reason="now", immediate=True)
        await on.heartbeat.renew_all()

        record = await running

        assert (record.phase, record.status, record.cancel_immediate) == ("ended", "called_off", True)
        assert len(on.tools.stopped) == begun
        assert ledger.read_text() == ""
        ends = await on.ends(session_id)
        assert ends[:begun] == ["cancelled begun"] * begun
        assert set(ends[begun:]) == {"cancelled"}
        assert (await on.events(session_id))[-1] == {"event": "cancel:completed", "was_immediate": True}
        settled = await on.on.client.explain(session_id)
        assert settled is not None
        assert len(settled.data.get("open_intents", [])) == (1 if effect else 0)  # type: ignore[arg-type]
        await on.check(session_id)

    play(store_url, scene)


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize(
    ("skill", "plan", "calls"),
    [("start", "asks", 2), ("ask", "", 0), ("nap", "", 0), ("flaky", "", 0)],
    ids=["approval", "input", "signal", "retry"],
)
def test_a_session_that_waits_is_cancelled_at_once(
    store_url: str, ledger: Path, skill: str, plan: str, calls: int, immediate: bool
) -> None:
    """It comes to the front of its line, whatever it waited for; a call that nobody allowed has its result, too."""

    async def scene(on: Halting) -> None:
        on.tools.go_on.set()
        session_id = await on.submit(skill, plan=plan)
        assert (await on.run(session_id)).phase == "waiting"
        await on.on.client.cancel(session_id, actor="ada", immediate=immediate)

        [tick] = await tick_of(on.on, session_id)
        assert [(one.session_id, one.rank) for one in tick] == [(session_id, -1)]
        record = await on.run(session_id)

        assert (record.phase, record.status, record.wait) == ("ended", "called_off", None)
        assert await on.ends(session_id) == ["cancelled"] * calls
        assert ledger.read_text() == ""
        steps = [entry for entry in await on.entries(session_id) if entry.kind == "step"]
        assert [entry.outcome for entry in steps[-2:]] == ["cancelled", "succeeded"]
        await on.check(session_id)
        with pytest.raises(PhaseRefused):
            await on.on.client.cancel(session_id, actor="ada", immediate=True)

    play(store_url, scene)


async def tick_of(on: Stage, session_id: str) -> list[list[object]]:
    """Return what stands in line in a session's partition, as a scheduler sees it."""
    tick = await on.due.tick(on.store.keys.partition(session_id), [*on.specs], most=10, each=10)
    return [list(tick.in_line)]


def test_a_call_that_a_crash_left_uncertain_stays_known_after_a_cancel(store_url: str, ledger: Path) -> None:
    """Cancelling a question whether something happened answers it with: nobody knows."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit(plan="strikes")
        running = asyncio.create_task(on.executor.run_slice(session_id))
        await on.tools.begun.get()
        await on.on.lose_lease(session_id)
        await on.heartbeat.renew_all()
        assert await running == "lost"
        assert (await on.wait_of(session_id)).kind == "uncertain"

        await on.on.client.cancel(session_id, actor="ada")
        record = await on.run(session_id)

        assert record.status == "called_off"
        assert await on.ends(session_id) == ["cancelled begun", "cancelled", "cancelled"]
        settled = await on.on.client.explain(session_id)
        assert settled is not None
        assert settled.data["open_intents"] == [(await on.calls(session_id))[0].call_id]
        await on.check(session_id)

    play(store_url, scene)


def test_a_declared_call_is_closed_as_well(store_url: str, ledger: Path) -> None:
    """A tool step has no model that asked; the journal still says how its call ended."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit("tool")
        running = asyncio.create_task(on.run(session_id))
        await on.tools.begun.get()
        await on.on.client.cancel(session_id, actor="ada", immediate=True)
        await on.heartbeat.renew_all()

        assert (await running).status == "called_off"
        assert await on.ends(session_id) == ["cancelled begun"]

    play(store_url, scene)


@pytest.mark.parametrize("immediate", [False, True])
def test_a_cancel_reaches_children_and_their_children(store_url: str, ledger: Path, immediate: bool) -> None:
    """Each is told before its parent's end is committed, as its parent was told; those that ended are left alone."""

    async def scene(on: Halting) -> None:
        top = await on.submit("grand", groups=["one", "two"], items=["a", "b"])
        middle = list((await on.wait_of(top)).children)
        leaves = [leaf for one in middle for leaf in (await on.wait_of(one)).children]
        assert len(leaves) == 4
        for leaf in leaves:
            assert (await on.run(leaf)).phase == "waiting"
        await on.on.client.answer(leaves[0], actor="ada", text="done")
        assert (await on.run(leaves[0])).status == "fine"

        await on.on.client.cancel(top, actor="ada", reason="all of it", immediate=immediate)
        for one in (top, *middle, *leaves[1:]):
            record = await on.run(one)
            assert (record.status, record.cancel_immediate) == ("called_off", immediate)
            assert "all of it" in record.cursor.stop_reason
            await on.check(one)

        assert (await on.on.client.show(leaves[0])).status == "fine"
        told = [entry.data.get("children") for entry in await on.entries(top) if entry.outcome == "cancelled"]
        assert told == [2]

    play(store_url, scene)


def test_children_whose_parent_died_before_it_knew_them_are_found_by_their_keys(store_url: str, ledger: Path) -> None:
    """The fan-out was half done when its worker died, and the cancel came before another could repeat it."""

    async def scene(on: Halting) -> None:
        parent = await on.submit("fan", items=["a", "b", "c"])
        submit, made = on.on.hosts[0].client.submit, []

        async def submit_two(*args: object, **more: object) -> object:
            if len(made) == 2:
                slice_of_it.cancel()
                await asyncio.Event().wait()
            made.append(await submit(*args, **more))  # type: ignore[arg-type]
            return made[-1]

        on.on.hosts[0].client.submit = submit_two  # type: ignore[method-assign]
        slice_of_it = asyncio.create_task(on.executor.run_slice(parent))
        assert await slice_of_it == "released"
        on.on.hosts[0].client.submit = submit  # type: ignore[method-assign]

        await on.on.client.cancel(parent, actor="ada")
        assert (await on.run(parent)).status == "called_off"

        assert len(made) == 2
        for child in made:
            assert (await on.run(child.session_id)).status == "called_off"

    play(store_url, scene)


def test_a_worker_that_dies_between_telling_the_children_and_its_commit_tells_them_again(
    store_url: str, ledger: Path
) -> None:
    """A word that is repeated changes nothing: it has a name made of the parent's."""

    async def scene(on: Halting) -> None:
        parent = await on.submit("fan", items=["a"])
        [child] = (await on.wait_of(parent)).children
        await on.on.client.cancel(parent, actor="ada")
        doomed = on.on.worker("doomed")
        host = on.on.hosts[-1]

        async def die(*_: object, **__: object) -> object:
            raise asyncio.CancelledError

        host.leases.commit = die  # type: ignore[method-assign]
        await doomed.run_slice(parent)
        assert (await on.run(parent)).status == "called_off"
        assert (await on.run(child)).status == "called_off"

        posts = [entry for entry in await on.entries(child) if entry.kind == "posted"]
        assert [entry.actor for entry in posts] == [f"session:{parent}"]

    play(store_url, scene)


def test_a_cancel_does_not_wait_for_a_worker_that_is_not_there(store_url: str, tmp_path: Path) -> None:
    """In line for a sandbox that nobody has: what is left to do of it any worker can do."""

    async def work() -> None:
        spec = load_app(WORKSHOP)
        on = Stage(store_url, Settings.model_validate({"apps": {"bundled": False}}), {spec.name: spec})
        try:
            session_id = (
                await on.client.submit(spec.name, overrides={"folder": str(tmp_path)}, actor="ada")
            ).session_id
            executor = on.worker()
            for _ in range(4):
                await executor.run_slice(session_id)
            record = await on.client.show(session_id)
            assert (record.phase, record.queue) == ("ready", "plugins")
            await on.due.mark_sent([session_id], await on.store.now_ms() + 60_000)

            await on.client.cancel(session_id, actor="ada")

            [line] = await tick_of(on, session_id)
            assert [(one.bucket, one.rank) for one in line] == [("ready", -1)]  # type: ignore[attr-defined]
            assert (await on.run(executor, session_id)).status == "unclear"
        finally:
            await on.aclose()

    asyncio.run(work())


def test_an_app_at_its_limit_lets_a_cancelled_session_through(store_url: str) -> None:
    """It takes a moment and frees what others wait for; behind a long line it would be cancelled tomorrow."""

    async def scene(on: Halting) -> None:
        line = [await on.submit("nap") for _ in range(5)]
        await on.on.client.cancel(line[-1], actor="ada")
        found = []
        for number in range(on.on.store.keys.partitions):
            found += (await on.on.due.tick(number, ["halting"], most=10, each=10)).in_line

        chosen = plan_dispatch(found, room=3, busy={"halting": 1}, limits={"halting": 1})

        assert [one.session_id for one in chosen] == [line[-1]]

    play(store_url, scene)


def test_a_cancel_that_comes_while_a_session_is_settled_changes_nothing(store_url: str, ledger: Path) -> None:
    """It is too late, and the journal says that it was asked for."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit(plan="none")
        await on.executor.run_slice(session_id)
        assert (await on.on.client.show(session_id)).phase == "finalizing"
        await on.on.client.cancel(session_id, actor="ada", immediate=True)

        record = await on.run(session_id)

        assert (record.status, record.cursor.stop) == ("fine", None)
        assert await on.events(session_id) == [
            {"event": "cancel:requested"},
            {"event": "cancel:completed", "was_immediate": True},
        ]
        await on.check(session_id)

    play(store_url, scene)


def test_a_cancel_is_called_out_to_the_worker_that_runs_the_session(store_url: str, ledger: Path) -> None:
    """No heartbeat is needed; one that comes while the session is being claimed is heard as well."""

    async def scene(on: Halting) -> None:
        listening = asyncio.create_task(on.push.listen_forever())
        await on.push.listening.wait()
        session_id, claimed = await on.submit(plan="strikes"), await on.submit(plan="strikes")
        running = asyncio.create_task(on.run(session_id))
        await on.tools.begun.get()

        await on.on.client.cancel(session_id, actor="ada", immediate=True)
        assert (await running).status == "called_off"

        leases = on.on.hosts[0].leases
        claim = leases.claim

        async def claim_slowly(*args: object, **more: object) -> object:
            got = await claim(*args, **more)  # type: ignore[arg-type]
            on.push.hear(claimed)
            await on.on.client.cancel(claimed, actor="ada", immediate=True)
            return got

        leases.claim = claim_slowly  # type: ignore[method-assign]
        assert (await on.run(claimed)).status == "called_off"
        assert on.tools.begun.empty()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    play(store_url, scene)


def test_a_listener_that_lost_its_connection_hears_what_was_said_meanwhile(store_url: str, ledger: Path) -> None:
    """A channel keeps nothing: whoever listens again looks at all that it has."""

    async def scene(on: Halting) -> None:
        session_id = await on.submit(plan="strikes")
        running = asyncio.create_task(on.run(session_id))
        await on.tools.begun.get()
        await on.on.client.cancel(session_id, actor="ada", immediate=True)

        listening = asyncio.create_task(on.push.listen_forever())

        assert (await running).status == "called_off"
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    play(store_url, scene)


def test_the_app_is_as_the_scenes_need_it() -> None:
    """Its word for a cancel is not its default one, or no test here would see the difference."""
    spec = load_app(HALTING)

    assert spec.cancelled_status != spec.default_terminal_status
