"""Whole sessions with plugin passes, over a real store and in the real sandbox: order, failure, questions, cancels, deaths."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.errors import InputError, NotWaiting
from orchestrator.contracts.session import Entry, Post, Record
from orchestrator.settings import Settings
from plugin_sandbox.model import Call, Outcome
from plugin_sandbox.settings import SandboxSettings
from tests.stage import Stage
from workers.executor import Executor
from workers.plugins import PluginHost

pytestmark = [pytest.mark.integration]

WORKSHOP = Path(__file__).parents[1] / "apps" / "workshop"
SECONDS = 60


class WatchedHost(PluginHost):
    """Runs plugins as always; a test learns when a run begins, and may hold it before or after it is done."""

    begun: asyncio.Event
    done: asyncio.Event
    before: asyncio.Event
    after: asyncio.Event
    calls: list[Call]

    def watch(self) -> "WatchedHost":
        """Hold nothing."""
        self.begun, self.done, self.before, self.after = (asyncio.Event() for _ in range(4))
        self.before.set()
        self.after.set()
        self.calls = []
        return self

    async def run(self, call: Call, stop: asyncio.Event) -> Outcome:
        """Run a call between the test's two gates."""
        self.calls.append(call)
        self.begun.set()
        await self.before.wait()
        outcome = await super().run(call, stop)
        self.done.set()
        await self.after.wait()
        return outcome


class Scene:
    """A stage with the workshop, a workspace with one file, and workers with a sandbox."""

    def __init__(self, on: Stage, folder: Path, state_dir: Path) -> None:
        self.on, self.folder, self._state_dir = on, folder, state_dir
        self.hosts: list[WatchedHost] = []

    def host(self) -> WatchedHost:
        """Return another process's plugins, over the same state folder."""
        settings = SandboxSettings(state_dir=self._state_dir, preload=("json",))
        made = WatchedHost(self.on.settings, settings, self.on.specs).watch()
        self.hosts.append(made)
        return made

    async def submit(self, entry_skill: str, **state: object) -> str:
        """Submit a session that works on the folder."""
        overrides = {"folder": str(self.folder), **state}
        submitted = await self.on.client.submit("workshop", overrides=overrides, actor="ada", entry_skill=entry_skill)  # type: ignore[arg-type]
        return submitted.session_id

    async def run(self, session_id: str, executor: Executor | None = None) -> Record:
        """Run the session until it rests."""
        return await self.on.run(executor or self.on.worker(plugins=self.host()), session_id)

    async def told(self, session_id: str) -> list[tuple[str, str]]:
        """Return each plugin's end as the journal has it."""
        ended = [entry.data["plugin"] for entry in await self.journal(session_id) if "plugin" in entry.data]
        return [(one["plugin"], one["status"]) for one in ended]  # type: ignore[index, call-overload, misc]

    async def journal(self, session_id: str) -> list[Entry]:
        """Return the session's journal."""
        return [entry async for entry in self.on.client.events(session_id)]

    def text(self) -> str:
        """Return what the workspace's file holds now."""
        return (self.folder / "a.txt").read_text()


def play(url: str, tmp_path: Path, act: Callable[[Scene], Awaitable[None]], **settings: object) -> None:
    """Act on a scene of its own, and leave nothing of it."""

    async def run() -> None:
        folder = tmp_path / "work"
        folder.mkdir()
        (folder / "a.txt").write_text("one\n")
        spec = load_app(WORKSHOP)
        scene = Scene(Stage(url, Settings.model_validate(settings), {"workshop": spec}), folder, tmp_path / "state")
        try:
            async with asyncio.timeout(SECONDS):
                await act(scene)
        finally:
            for host in scene.hosts:
                await host.aclose()
            await scene.on.aclose()

    asyncio.run(run())


def statuses(record: Record) -> list[tuple[object, object]]:
    """Return plugin and status of each entry in the state."""
    entries = record.state["entries"]
    assert isinstance(entries, list)
    return [(one["plugin"], one["status"]) for one in entries if isinstance(one, dict)]


def test_plugins_run_in_order_and_a_failure_stops_none(store_url: str, tmp_path: Path) -> None:
    """Each entry is in the journal and in the state; what failed has published nothing; the way out is `failed`."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("work", word="two")
        record = await scene.run(session_id)

        expected = [("append", "success"), ("fail", "failed"), ("count", "success")]
        assert statuses(record) == await scene.told(session_id) == expected
        assert (record.phase, record.state["went"]) == ("ended", "badly")
        assert (scene.text(), (scene.folder / "a.count").read_text()) == ("one\ntwo\n", "2")
        steps = [entry for entry in await scene.journal(session_id) if entry.step == "plugin_pass"]
        assert steps[0].data["logs"] == [
            {"level": "INFO", "message": "appended", "plugin": "append", "context": {"file": "a.txt"}}
        ]
        assert [entry.data["plugin"]["error"] for entry in steps[1:2]] == ["it fails always"]  # type: ignore[index, call-overload]
        assert steps[2].data["signal"] == "failed"

    play(store_url, tmp_path, act)


def test_a_pass_without_a_failure_leaves_by_success_and_begins_its_list_anew(store_url: str, tmp_path: Path) -> None:
    """The files may be named by the state; entries of an earlier pass are not among this one's."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("good", entries=[{"plugin": "earlier"}])
        record = await scene.run(session_id)

        assert statuses(record) == [("append", "success"), ("count", "success")]
        assert record.state["went"] == "well"

    play(store_url, tmp_path, act)


def test_a_dry_run_changes_nothing_and_says_what_it_would(store_url: str, tmp_path: Path) -> None:
    """Whether it is one may be an expression of the state."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("dry", word="dry")
        record = await scene.run(session_id)

        assert (scene.text(), statuses(record)) == ("one\n", [("append", "skipped")])
        step = next(entry for entry in await scene.journal(session_id) if entry.step == "plugin_pass")
        assert step.data["changes"] == [{"path": "a.txt", "kind": "modify", "summary": "", "detail": {}}]

    play(store_url, tmp_path, act)


def test_a_question_waits_without_a_worker_and_goes_on_with_all_answers(store_url: str, tmp_path: Path) -> None:
    """Answers are checked by type, the first is kept for the second run, and nothing is applied twice."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("question")
        record = await scene.run(session_id)
        assert record.wait is not None
        assert (record.phase, record.wait.kind, [one.id for one in record.wait.fields]) == (
            "waiting",
            "input",
            ["unit"],
        )
        assert record.wait.prompt_id in record.wait.wait_id
        assert not (scene.folder / "begun.txt").exists()
        with pytest.raises(InputError, match="'km' does not fit; give one of mm, in"):
            await scene.on.client.answer(session_id, actor="ada", text="km")
        await scene.on.client.answer(session_id, actor="ada", text="mm")
        with pytest.raises(NotWaiting):
            await scene.on.client.answer(session_id, actor="bob", text="in")

        record = await scene.run(session_id)
        assert record.wait is not None
        assert [one.id for one in record.wait.fields] == ["rows", "note"]
        with pytest.raises(InputError, match="'rows' is missing"):
            await scene.on.client.answer(session_id, actor="ada", value={"note": "x"})
        await scene.on.client.answer(session_id, actor="ada", value={"rows": 7})
        record = await scene.run(session_id)

        assert statuses(record) == [("append", "success"), ("ask", "success"), ("count", "success")]
        assert json.loads((scene.folder / "told.json").read_text()) == {"rows": 7, "unit": "mm"}
        assert scene.text() == "one\nhello\n"
        assert record.cursor.place is None

    play(store_url, tmp_path, act)


def test_an_answer_that_does_not_fit_is_refused_where_it_is_taken_too(store_url: str, tmp_path: Path) -> None:
    """A post past the client changes nothing, and a real answer is still accepted."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("question")
        record = await scene.run(session_id)
        assert record.wait is not None
        wait_id = record.wait.wait_id
        for number, value in enumerate(({"unit": 5}, {"units": "mm"}, "mm", [])):
            post = Post(post_id=f"p{number}", kind="input", actor="eve", wait_id=wait_id, value=value)  # type: ignore[arg-type]
            await scene.on.client.deliver(session_id, post, answers=wait_id)
            record = await scene.run(session_id)
            assert (record.wait and record.wait.wait_id) == wait_id

        await scene.on.client.answer(session_id, actor="ada", value={"unit": "in"})
        record = await scene.run(session_id)
        assert record.wait is not None
        assert record.wait.wait_id != wait_id

    play(store_url, tmp_path, act)


@pytest.mark.parametrize(("how", "why"), [("refused", "refused by ada"), ("late", "nobody answered in time")])
def test_a_question_that_nobody_answers_aborts_the_pass(store_url: str, tmp_path: Path, how: str, why: str) -> None:
    """The asking plugin has failed, those after it have no entry, and a worker without a sandbox can settle it."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("question")
        await scene.run(session_id)
        if how == "refused":
            await scene.on.client.answer(session_id, actor="ada", verdict="stop")
        else:
            await scene.on.skip_to_due(session_id)
        record = await scene.run(session_id, scene.on.worker())

        assert statuses(record) == [("append", "success"), ("ask", "failed")]
        assert (record.phase, record.state["went"]) == ("ended", "refused")
        aborted = [entry.data for entry in await scene.journal(session_id) if "aborted" in entry.data]
        assert [(one["aborted"], one["signal"]) for one in aborted] == [(why, "aborted")]

    play(store_url, tmp_path, act)


def test_a_cancel_stops_the_running_plugin_and_publishes_nothing_of_it(store_url: str, tmp_path: Path) -> None:
    """What ended before stays; the one that ran is told as cancelled; no worker is held for its fifteen seconds."""

    async def act(scene: Scene) -> None:
        host = scene.host()
        executor = scene.on.worker(plugins=host)
        session_id = await scene.submit("slow")
        host.before.clear()
        running = asyncio.create_task(executor.run_slice(session_id))
        await host.begun.wait()
        host.begun.clear()
        host.before.set()
        await host.begun.wait()  # the second plugin's
        await scene.on.client.cancel(session_id, actor="ada", reason="enough")
        mine = executor.slices[session_id]
        cancel = await scene.on.hosts[0].leases.renew(session_id, mine.fence)  # as the heartbeat does
        assert cancel is not None
        mine.hear(cancel)
        await running
        record = await scene.on.run(executor, session_id)

        assert (record.phase, record.status) == ("ended", "unclear")
        assert scene.text() == "one\nhello\n"
        assert await scene.told(session_id) == [("append", "success"), ("wait", "cancelled")]

    play(store_url, tmp_path, act)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_in_the_middle_of_a_plugin_leaves_it_done_once(
    store_url: str, tmp_path: Path, when: str
) -> None:
    """Before the publishing nothing is there, after it everything: either way the next worker ends with one line added.

    The dead worker comes back as from a long pause, and harms nothing: its run finds what the other published, and its commit is
    refused.
    """

    async def act(scene: Scene) -> None:
        dead = scene.host()
        executor = scene.on.worker(plugins=dead)
        session_id = await scene.submit("good")
        gate = dead.before if when == "before" else dead.after
        gate.clear()
        frozen = asyncio.create_task(executor.run_slice(session_id))
        await (dead.begun if when == "before" else dead.done).wait()
        await scene.on.lose_lease(session_id)
        record = await scene.run(session_id)
        assert record.phase == "ended"
        gate.set()

        assert await frozen == "lost"
        assert statuses(record) == [("append", "success"), ("count", "success")]
        assert (scene.text(), (scene.folder / "a.count").read_text()) == ("one\nhello\n", "2")
        assert await scene.told(session_id) == [("append", "success"), ("count", "success")]

    play(store_url, tmp_path, act)


def test_a_worker_without_a_sandbox_hands_the_session_on_once(store_url: str, tmp_path: Path) -> None:
    """It stands in the line for plugins then, where the scheduler finds it apart from the others; no entry is made twice."""

    async def act(scene: Scene) -> None:
        plain = scene.on.worker()
        session_id = await scene.submit("good")
        await plain.run_slice(session_id)
        record = await scene.on.client.show(session_id)
        assert (record.phase, record.queue) == ("ready", "plugins")
        partition = scene.on.store.keys.partition(session_id)
        await scene.on.store.command("DEL", scene.on.store.keys.of_partition("sent", partition))
        tick = await scene.on.due.tick(partition, ["workshop"], most=10, each=10)
        assert [(one.bucket, one.rank) for one in tick.in_line] == [("plugins", 1)]

        only_plugins = scene.on.worker(plugins=scene.host(), steps=False)
        await only_plugins.run_slice(session_id)
        record = await scene.on.client.show(session_id)
        assert (record.phase, record.queue, record.cursor.skill) == ("ready", "steps", "well")
        record = await scene.on.run(plain, session_id)

        assert (record.phase, record.state["went"]) == ("ended", "well")

    play(store_url, tmp_path, act)


def test_a_plugin_that_was_changed_since_the_worker_started_is_not_run(store_url: str, tmp_path: Path) -> None:
    """Its digest is that of what was looked at; whatever it is now, it gets an entry and no process."""

    async def act(scene: Scene) -> None:
        operators = Path(scene.on.settings.apps.plugins)
        package = operators / "append"
        package.mkdir(parents=True)
        for file in (WORKSHOP / "plugins" / "append").glob("*.*"):
            (package / file.name).write_bytes(file.read_bytes())
        host = scene.host()
        assert host.find("workshop", "append").root == "lab"
        (package / "__init__.py").write_text("# something else")
        session_id = await scene.submit("good")
        record = await scene.run(session_id, scene.on.worker(plugins=host))

        assert statuses(record)[0] == ("append", "sandbox_unavailable")
        assert scene.text() == "one\n"

    play(store_url, tmp_path, act, apps={"plugins": str(tmp_path / "lab")})


@pytest.mark.parametrize(
    ("folder", "message"),
    [("relative", "absolute path"), ("/nowhere/at/all", "is no folder"), ("/", "the root of everything")],
)
def test_a_workspace_that_is_none_is_a_dead_letter_with_its_reason(
    store_url: str, tmp_path: Path, folder: str, message: str
) -> None:
    """Trying again would not help: a person mends what names the folder."""

    async def act(scene: Scene) -> None:
        session_id = await scene.submit("good", folder=folder)
        record = await scene.run(session_id)

        assert record.phase == "dead"
        letters = await scene.on.client.dead_letters()
        assert message in str(letters[0][1]["detail"])

    play(store_url, tmp_path, act)


def test_plugins_work_only_below_the_operators_folders(store_url: str, tmp_path: Path) -> None:
    """Who submits a session must not choose any folder of the machine, where the operator names some."""

    async def act(scene: Scene) -> None:
        (tmp_path / "allowed").mkdir()
        (tmp_path / "allowed" / "link").symlink_to(scene.folder)
        session_id = await scene.submit("good", folder=str(tmp_path / "allowed" / "link"))
        record = await scene.run(session_id)

        assert record.phase == "dead"
        assert scene.text() == "one\n"

    play(store_url, tmp_path, act, apps={"workspaces": [str(tmp_path / "allowed")]})
