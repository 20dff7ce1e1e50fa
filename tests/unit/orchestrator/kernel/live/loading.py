"""Write modules into folders, and load them from outside a loop."""

import asyncio
from pathlib import Path
from textwrap import dedent
from typing import Any

from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.modules import ModuleLoader, ModuleMount

#: A module with one complete tool, named `search`.
TOOL = """
class Search:
    name, description = "search", "finds"
    def __init__(self, config):
        self.config = config
    async def execute(self, input):
        return input
async def mount(coordinator, config):
    await coordinator.mount("tools", Search(config))
    return lambda: "cleaned"
"""


def write_module(folder: Path, module_id: str, code: str, *, prefix: str = "baton_module_") -> Path:
    """Write a module's package into a folder, and return the package's."""
    package = folder / (prefix + module_id.replace("-", "_"))
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(dedent(code), encoding="utf-8")
    return package


def write_entry_points(folder: Path, group: str, targets: dict[str, str]) -> None:
    """Make a folder look as if a distribution with these entry points were installed in it."""
    info = folder / "modules_of_ours-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: modules-of-ours\nVersion: 1.2\n", encoding="utf-8")
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in targets.items())]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def load(loader: ModuleLoader, module_id: str, config: dict[str, Any] | None = None, **more: Any) -> ModuleMount:
    """Load a module."""
    return asyncio.run(loader.load(module_id, config, **more))


def mount(loader: ModuleLoader, module_id: str, config: dict[str, Any] | None = None) -> Any:
    """Load a module and mount it at the coordinator of its loader; return what its mount returned."""

    async def run() -> Any:
        coordinator: Coordinator = loader._coordinator or Coordinator()
        return await (await loader.load(module_id, config))(coordinator)

    return asyncio.run(run())
