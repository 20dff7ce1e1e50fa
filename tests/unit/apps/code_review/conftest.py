"""The analysis as a session makes it: files exported, plugins in the real sandbox, findings collected."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.code_review.steps import choose_pass, collect
from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call
from plugin_sandbox.registry import Registry
from plugin_sandbox.settings import SandboxSettings
from tests.unit.apps.conftest import CallTool

PLUGINS = Path(__file__).parents[4] / "apps" / "code_review" / "plugins"
SESSION = "REVIEW-20260102-001"

RunPlugins = Callable[..., list[dict[str, Any]]]
Analyse = Callable[..., dict[str, Any]]


@pytest.fixture
def run_plugins(tmp_path: Path) -> Iterator[RunPlugins]:
    """Run the app's plugins over an exported workspace; return their entries. `programs` is what the operator grants."""
    boxes: list[Sandbox] = []

    def run(workspace: Path, *names: str, programs: dict[str, str] | None = None) -> list[dict[str, Any]]:
        granted = {"ruff": "ruff"} if programs is None else programs
        settings = SandboxSettings(state_dir=tmp_path / "state", preload=("json",), programs=granted)
        registry = Registry(settings, bundled=(PLUGINS,))
        registry.reload()
        boxes.append(Sandbox(settings))
        files = sorted(
            path.relative_to(workspace).as_posix() for path in (workspace / "files").rglob("*") if path.is_file()
        )
        entries = []
        for name in names or ("ruff", "python_checks"):
            plugin = registry.get(name)
            if plugin is None:
                entries.append({"plugin": name, "status": "failed", "error": f"{name}: not accepted"})
                continue
            outcome = boxes[-1].run_blocking(Call(plugin=plugin, workspace=workspace, files=tuple(files)))
            assert outcome.entry is not None
            entries.append(outcome.entry.model_dump(mode="json", exclude_none=True))
        return entries

    yield run
    for box in boxes:
        box.close()


@pytest.fixture
def analyse(run_plugins: RunPlugins, tmp_path: Path) -> Analyse:
    """Analyse a commit by the server's tools and the plugins, as the app's steps do."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o700)

    def run(call: CallTool, programs: dict[str, str] | None = None, **args: str) -> dict[str, Any]:
        export = call("export_files", session_id=SESSION, scratch=str(scratch), **args)
        state: dict[str, Any] = {"export": export, "workspace": export["workspace"], "entries": []}
        if choose_pass(state)["signal"] == "inspect":
            state["entries"] = run_plugins(Path(export["workspace"]), programs=programs)
        analysis = collect(state)["analysis"]
        call("clear_files", session_id=SESSION, scratch=str(scratch))
        assert list(scratch.iterdir()) == []
        return call("analyse_files", commit=args["commit"], analysis=analysis)

    return run
