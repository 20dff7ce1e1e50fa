"""The app's plugins in the real sandbox, as a session's pass would run them, on real files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call, Outcome
from plugin_sandbox.registry import Registry, choose_files
from plugin_sandbox.settings import SandboxSettings

PLUGINS = Path(__file__).parents[4] / "apps" / "dataset_intake" / "plugins"

RunPlugin = Callable[..., Outcome]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder, empty but for its parts."""
    folder = tmp_path / "project"
    for part in ("data", "metadata"):
        (folder / part).mkdir(parents=True)
    return folder


@pytest.fixture
def run_plugin(tmp_path: Path, project: Path) -> Iterator[RunPlugin]:
    """Run one of the app's plugins over the whole project."""
    settings = SandboxSettings(state_dir=tmp_path / "state", preload=("json",))
    registry = Registry(settings, bundled=(PLUGINS,))
    assert registry.reload().rejected == {}
    sandbox = Sandbox(settings)

    def run(name: str, answers: dict[str, Any] | None = None, *, dry_run: bool = False, **variables: object) -> Outcome:
        plugin = registry.get(name)
        assert plugin is not None
        every = sorted(path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file())
        call = Call(
            plugin=plugin,
            workspace=project,
            files=choose_files(plugin, every),
            variables=variables,
            answers={"p": answers} if answers else {},
            dry_run=dry_run,
        )
        return sandbox.run_blocking(call)

    yield run
    sandbox.close()
