"""Whoever is outside reads some answers only after a power cut that they came before: what they say then is no defect, and is not forgotten.

A real server behind a network of ours; what it forgets is put back as it was, key by key, as a power cut would have it.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.embedded import RunningServer
from orchestrator.settings import Settings
from orchestrator.store.store import Store
from tests.chaos.driver import Driver, Told
from tests.chaos.fleet import APPS, pause
from tests.chaos.proxy import Proxy
from tests.chaos.run import make_folder
from tests.stage import Stage

SECONDS = 60
#: A driver says some of its messages twice, as chance has it.
_TWICE, _ONCE = 0.0, 1.0


class Chance(random.Random):
    """Always draws the same."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self._drawn = drawn

    def random(self) -> float:
        """Return it."""
        return self._drawn


@dataclass
class Scene:
    """A driver with one session, its network, and the server itself."""

    driver: Driver
    told: Told
    network: Proxy
    server: Store

    async def save(self) -> dict[str, bytes]:
        """Return all that the server has."""
        keys = await self.server.command("KEYS", "*")
        found = [str(await self.server.command("DUMP", key)).encode(errors="surrogateescape") for key in keys]
        return dict(zip(keys, found, strict=True))

    async def put_back(self, saved: dict[str, bytes]) -> None:
        """Let the server be as it was."""
        await self.server.command("FLUSHALL")
        for key, value in saved.items():
            await self.server.command("RESTORE", key, 0, value)

    async def lose_a_post(self, *, after_a_cut: bool) -> "asyncio.Task[None]":
        """Let a message be posted and forgotten while its answer is on its way; return who waits for it."""
        before = await self.save()
        self.network._answers.clear()
        posting = asyncio.create_task(self._post())
        key = self.server.keys.of_session("mailbox", self.told.session_id)
        while not await self.server.command("LLEN", key):
            await pause(0.01)
        await self.put_back(before)
        self.driver.cuts += after_a_cut
        return posting

    async def _post(self) -> None:
        async with self.driver._asking():
            await self.driver._post(self.told)

    def let_the_answer_come(self) -> None:
        """Let everything pass again; what was on its way arrives."""
        self.network._answers.set()


@asynccontextmanager
async def scene_of(url: str, outside: Path, *, drawn: float, is_safe: bool = False) -> AsyncIterator[Scene]:
    """Lend a scene with a session that was just submitted."""
    spec = load_app(APPS / "ledger")
    with make_folder() as folder:
        network = Proxy(folder / "outside.sock", Path(url.removeprefix("unix://").partition("?")[0]))
        await network.start()
        stage = Stage(f"unix://{network.path}?{url.partition('?')[2]}", Settings(), {spec.name: spec})
        server = Store(url)
        driver = Driver(stage.client, outside, seed=1, messages=3, spread_seconds=1, work_seconds=0, is_safe=is_safe)
        try:
            async with asyncio.timeout(SECONDS):
                await driver.submit(1)
                driver.random = Chance(drawn)
                [told] = driver.told.values()
                yield Scene(driver, told, network, server)
        finally:
            await stage.aclose()
            await server.aclose()
            await network.aclose()


def test_an_answer_that_is_read_after_a_cut_came_before_it(empty_server: RunningServer, tmp_path: Path) -> None:
    """The message is new to the server when it is said again, though its first answer was read a moment ago: that answer is
    from before the cut. It is there once in the end.
    """  # noqa: D205 - one sentence

    async def run() -> tuple[list[str], int]:
        async with scene_of(empty_server.url, tmp_path, drawn=_TWICE) as scene:
            posting = await scene.lose_a_post(after_a_cut=True)
            scene.let_the_answer_come()
            await posting
            await scene.driver.find_losses(0)
            assert scene.told.lost == []
            return scene.told.posts, scene.told.doubled

    assert asyncio.run(run()) == (["m1"], 0)


@pytest.mark.parametrize(("after_a_cut", "is_safe"), [(False, False), (True, True)])
def test_a_message_that_no_cut_can_have_taken_was_forgotten(
    empty_server: RunningServer, tmp_path: Path, *, after_a_cut: bool, is_safe: bool
) -> None:
    """There was none since it was answered, or the store promised to keep it: that is a defect, and is told."""

    async def run() -> None:
        async with scene_of(empty_server.url, tmp_path, drawn=_TWICE, is_safe=is_safe) as scene:
            posting = await scene.lose_a_post(after_a_cut=after_a_cut)
            scene.let_the_answer_come()
            with pytest.raises(AssertionError, match="m1 was forgotten"):
                await posting

    asyncio.run(run())


def test_losses_are_looked_for_once_every_answer_is_read(empty_server: RunningServer, tmp_path: Path) -> None:
    """Who has asked before the gate was closed is still told of things: what comes between a look at a journal and the comparison
    would be taken for lost, and what comes after it be missed by nobody.
    """  # noqa: D205 - one sentence

    async def run() -> tuple[list[str], list[str]]:
        async with scene_of(empty_server.url, tmp_path, drawn=_ONCE) as scene:
            before = await scene.save()
            async with scene.driver._asking():
                await scene.driver._post(scene.told)
                await scene.put_back(before)
                scene.driver.gate.clear()
                finding = asyncio.create_task(scene.driver.find_losses(0))
                await asyncio.wait([finding], timeout=1)
                assert not finding.done()
                await scene.driver._post(scene.told)
            await finding
            return scene.told.posts, scene.told.lost

    assert asyncio.run(run()) == (["m2"], ["signal m1"])
