"""Whole intakes over a real store and in the real sandbox: every way to an end, with what lies on the disk afterwards."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from apps.dataset_intake.demo_files import SECRETS, write_files
from orchestrator.app_loader import load_app
from orchestrator.contracts.session import Record
from orchestrator.settings import Settings
from plugin_sandbox.settings import SandboxSettings
from tests.stage import Stage
from workers.plugins import PluginHost

pytestmark = [pytest.mark.integration]

APP = Path(__file__).parents[2] / "apps" / "dataset_intake"
REQUEST = {"name": "weather", "title": "Weather", "creator": "Ann", "license": "CC-BY-4.0"}


class Scene:
    """A stage with the app, a folder with data, and a worker with a sandbox."""

    def __init__(self, on: Stage, tmp_path: Path) -> None:
        self.on, self.data, self.projects = on, tmp_path / "data", tmp_path / "projects"
        self.host = PluginHost(on.settings, SandboxSettings(state_dir=tmp_path / "state", preload=("json",)), on.specs)
        self.executor = on.worker(plugins=self.host)

    async def take_in(self, **changed: object) -> Record:
        """Submit the data, and run the session until it rests."""
        overrides = {"source": str(self.data), "projects": str(self.projects), **REQUEST, **changed}
        submitted = await self.on.client.submit("dataset_intake", overrides=overrides, actor="ada")  # type: ignore[arg-type]
        return await self.on.run(self.executor, submitted.session_id)

    async def go_on(self, record: Record) -> Record:
        """Run an answered session until it rests."""
        return await self.on.run(self.executor, record.session_id)


def play(url: str, tmp_path: Path, act: Callable[[Scene], Awaitable[None]]) -> None:
    """Act on a scene of its own, and leave nothing of it."""

    async def run() -> None:
        (tmp_path / "data").mkdir()
        write_files(tmp_path / "data")
        scene = Scene(Stage(url, Settings(), {"dataset_intake": load_app(APP, env={})}), tmp_path)
        try:
            async with asyncio.timeout(120):
                await act(scene)
        finally:
            await scene.host.aclose()
            await scene.on.aclose()

    asyncio.run(run())


def test_data_is_published_once_its_missing_unit_is_known(store_url: str, tmp_path: Path) -> None:
    """The question waits without a worker; what is published is clean, profiled, described and summed; the source is as it was."""

    async def act(scene: Scene) -> None:
        before = {path: path.read_bytes() for path in scene.data.rglob("*") if path.is_file()}
        record = await scene.take_in()
        assert record.wait is not None
        assert [(one.id, one.default) for one in record.wait.fields] == [("unit_temp", "degC")]
        assert not (scene.projects / "weather").exists()
        await scene.on.client.answer(record.session_id, actor="ada", text="K")
        record = await scene.go_on(record)

        assert (record.status, record.fields["project"]) == ("published", str(scene.projects / "weather"))
        project = scene.projects / "weather"
        assert {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()} == {
            "README.md",
            "dataset.json",
            "MANIFEST.sha256",
            "data/README.md",
            "data/stations.csv",
            "data/images/site.png",
            "data/images/station.jpg",
            "metadata/profiles/data/stations.csv.json",
            "metadata/units.json",
        }
        units = json.loads((project / "metadata" / "units.json").read_text())
        assert units["data/stations.csv"]["temp"] == {"unit": "K", "from": "answer"}
        text = b"".join(path.read_bytes() for path in project.rglob("*") if path.is_file())
        assert not any(secret in text for secret in SECRETS)
        assert 'units: ["K", "hPa"]' in (project / "data" / "README.md").read_text()
        assert {path: path.read_bytes() for path in scene.data.rglob("*") if path.is_file()} == before
        assert [path.name for path in scene.projects.iterdir()] == ["weather"]

    play(store_url, tmp_path, act)


def test_a_question_that_is_refused_withholds_the_project(store_url: str, tmp_path: Path) -> None:
    """It stays where a person can look at it, and the reason names the question's plugin."""

    async def act(scene: Scene) -> None:
        record = await scene.take_in()
        await scene.on.client.answer(record.session_id, actor="ada", verdict="stop")
        record = await scene.go_on(record)

        assert record.status == "withheld"
        assert "units: failed" in str(record.fields["reason"])
        assert (Path(str(record.fields["project"])) / "data" / "stations.csv").is_file()
        assert not (scene.projects / "weather").exists()

    play(store_url, tmp_path, act)


def test_an_image_that_cannot_be_scrubbed_withholds_the_project(store_url: str, tmp_path: Path) -> None:
    """What an image tells of people must not be published by mistake."""

    async def act(scene: Scene) -> None:
        (scene.data / "images" / "broken.jpg").write_bytes((scene.data / "images" / "station.jpg").read_bytes()[:-9])
        record = await scene.take_in(units={"temp": "K"})

        assert record.status == "withheld"
        assert "image_scrub: failed: data/images/broken.jpg: the JPEG's pixels are cut off" in str(
            record.fields["reason"]
        )

    play(store_url, tmp_path, act)


def test_what_is_less_is_published_with_its_gaps_named(store_url: str, tmp_path: Path) -> None:
    """A README that contradicts the request harms nobody, and is told."""

    async def act(scene: Scene) -> None:
        (scene.data / "README.md").write_text("---\nlicense: MIT\n---\n")
        record = await scene.take_in(units={"temp": "K"})

        assert record.status == "published_with_gaps"
        assert "says license MIT, the request CC-BY-4.0" in str(record.fields["remarks"])

    play(store_url, tmp_path, act)


def test_a_request_that_cannot_be_carried_out_is_rejected_with_every_reason(store_url: str, tmp_path: Path) -> None:
    """Before anything is made; a name that is taken is one."""

    async def act(scene: Scene) -> None:
        (scene.projects / "weather").mkdir(parents=True)
        record = await scene.take_in(license="", title="")

        assert record.status == "rejected"
        problems = record.fields["problems"]
        assert isinstance(problems, list)
        assert [str(one).split(maxsplit=1)[0] for one in problems] == ["title:", "license", "name"]
        assert [path.name for path in scene.projects.iterdir()] == ["weather"]

    play(store_url, tmp_path, act)


def test_a_cancelled_intake_publishes_nothing_and_leaves_nothing(store_url: str, tmp_path: Path) -> None:
    """Whoever cancels wants no project; what is half made has images in it that nobody has scrubbed."""

    async def act(scene: Scene) -> None:
        record = await scene.take_in()
        assert (scene.projects / ".intake" / record.session_id).is_dir()
        await scene.on.client.cancel(record.session_id, actor="ada", reason="enough")
        record = await scene.go_on(record)

        assert record.status == "abandoned"
        assert list(scene.projects.iterdir()) == []

    play(store_url, tmp_path, act)
