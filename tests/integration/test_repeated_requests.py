"""A request that is repeated under its key is the same one, whatever Baton makes of it by then.

Whoever did not hear the answer asks again: a program, the other half of a fleet that is just being deployed, a successor of the
worker that died between two children. Meanwhile an app may have been given a new field with a default, and an origin has gone on.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import KeyConflict
from orchestrator.contracts.session import Cursor, Record
from orchestrator.store.intake import Intake
from tests.stage import EVERYTHING, Stage, play


@pytest.fixture
def newer(tmp_path: Path) -> AppSpec:
    """The test app with one more field in its state, which has a default."""
    folder = tmp_path / "newer"
    shutil.copytree(EVERYTHING, folder)
    state = folder / "state.py"
    state.write_text(state.read_text() + "    fresh: str = ''\n")
    return load_app(folder)


def test_a_submission_is_the_same_after_a_deploy(store_url: str, newer: AppSpec) -> None:
    """The new field's default is none of the caller's words; another word of theirs is."""

    async def scene(on: Stage) -> None:
        async def ask(**overrides: Any) -> str:
            made = await on.client.submit("everything", text="go", overrides=overrides, actor="ada", key="k")
            return made.session_id

        first = await ask(plan="look", total=2)
        on.client.specs = {"everything": newer}

        assert await ask(total=2, plan="look") == first
        with pytest.raises(KeyConflict):
            await ask(plan="look", total=3)

    play(store_url, scene)


def test_a_submission_to_an_older_baton_is_the_same(store_url: str) -> None:
    """It knew a request by the session that came of it; its keys live on for a while."""

    async def scene(on: Stage) -> None:
        spec = on.specs["everything"]
        state = {"plan": "look"}
        probe = await on.client.submit("everything", text="go", overrides=dict(state), actor="ada")
        full = (await on.client.show(probe.session_id)).state
        draft = Record(
            session_id="",
            app="everything",
            spec=spec.digest(),
            phase="ready",
            actor="ada",
            text="go",
            cursor=Cursor(skill=spec.entry_skill),
            state=full,
        )
        older = await Intake(on.store).submit(draft, spec.session_id_prefix, key="k")

        again = await on.client.submit("everything", text="go", overrides=dict(state), actor="ada", key="k")

        assert (again.session_id, again.created) == (older.session_id, False)
        with pytest.raises(KeyConflict):
            await on.client.submit("everything", text="stop", overrides=dict(state), actor="ada", key="k")

    play(store_url, scene)


def test_a_fan_out_that_was_cut_goes_on_after_a_deploy(store_url: str, newer: AppSpec) -> None:
    """Its worker died between two children; the successor has the app's new version, and finds the children that there are."""

    async def scene(on: Stage) -> None:
        dying, begun = on.worker(), list[str]()
        session_id = await on.submit(entry_skill="fan", items=["a", "b", "c"])
        client = on.hosts[0].client
        submit = client.submit

        async def submit_two(*args: Any, **more: Any) -> Any:
            if len(begun) == 2:
                slice_of_it.cancel()
                await asyncio.Event().wait()
            made = await submit(*args, **more)
            begun.append(made.session_id)
            return made

        client.submit = submit_two  # type: ignore[method-assign]
        slice_of_it = asyncio.create_task(dying.run_slice(session_id))
        assert await slice_of_it == "released"

        record = await on.run(on.worker("new", specs={"everything": newer}), session_id)

        assert (record.phase, record.wait and record.wait.kind) == ("waiting", "child")
        assert record.wait is not None
        assert list(record.wait.children)[:2] == begun
        assert len(record.wait.children) == 3

    play(store_url, scene)


def test_a_fork_is_the_same_while_its_origin_goes_on(store_url: str) -> None:
    """The caller gave some of the state; the rest is the origin's, and no part of what was asked."""

    async def scene(on: Stage) -> None:
        origin = await on.submit(entry_skill="sum", total=1)

        async def fork(answer: str) -> str:
            return (await on.client.fork(origin, state={"answer": answer}, actor="ada", key="once")).session_id

        first = await fork("x")
        before = (await on.client.show(origin)).state
        await on.run(on.worker(), origin)
        assert (await on.client.show(origin)).state != before

        assert await fork("x") == first
        with pytest.raises(KeyConflict):
            await fork("y")

    play(store_url, scene)
