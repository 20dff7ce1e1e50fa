"""The plugins of one worker process: its sandbox, and what its apps may run in it.

One sandbox a process, with its zygote warm, made only where the process takes the queue of plugins and an app declares
a plugin pass. Plugins are read and digested when the process starts: what is changed on disk afterwards is refused at its
call. An operator's folder goes before an app's own. At most `worker.plugin_slots` run at once; the others wait their turn
in their lanes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.app_plugins import find_plugins, plugin_roots
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.skill import PluginPass
from orchestrator.settings import Settings
from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call, Outcome, PluginRecord
from plugin_sandbox.registry import Registry
from plugin_sandbox.settings import SandboxSettings, SettingsInvalid, load_settings

log = logging.getLogger(__name__)

SANDBOX_FILE = "sandbox.yaml"


class PluginNotAccepted(Exception):
    """Why a plugin is not run: its manifest was refused, or it is not there."""


def load_sandbox_settings(folder: Path) -> SandboxSettings:
    """Return what the operator allows plugins, of the folder of settings; raise ConfigError."""
    path = folder / SANDBOX_FILE
    try:
        return load_settings(path if path.exists() else None)
    except SettingsInvalid as error:
        raise ConfigError(str(error)) from error


def read_plugins(root: str, operators: str, settings: SandboxSettings) -> tuple[Registry, dict[str, str]]:
    """Return the plugins of an app that are accepted, and why the others are not, by name.

    One that is refused takes nobody's place: an operator's bad copy leaves the app's own in force.
    """
    bundled, lab = plugin_roots(root, operators)
    registry = Registry(settings, bundled=(bundled,), lab=() if lab is None else (lab,))
    rejected = registry.reload().rejected
    names = {folder.name: name for place in (bundled, lab) for name, folder in find_plugins(place).items()}
    return registry, {names.get(folder, folder): reason for folder, reason in rejected.items()}


class PluginHost:
    """Runs the plugins of a process's apps, a few at once."""

    def __init__(self, settings: Settings, sandbox_settings: SandboxSettings, specs: Mapping[str, AppSpec]) -> None:
        self.slots = settings.worker.plugin_slots
        self.workspaces = tuple(Path(one).expanduser().resolve() for one in settings.apps.workspaces)
        self._free = asyncio.Semaphore(self.slots)
        self._sandbox = Sandbox(sandbox_settings)
        self._accepted: dict[str, Registry] = {}
        self._refused: dict[str, dict[str, str]] = {}
        self.sessions = 0
        for app, spec in specs.items():
            passes = [skill for skill in spec.skills.values() if isinstance(skill, PluginPass)]
            named = {plugin for skill in passes for plugin in skill.plugins}
            self._accepted[app], self._refused[app] = read_plugins(spec.root, settings.apps.plugins, sandbox_settings)
            for name, reason in self._refused[app].items():
                level = logging.WARNING if name in named else logging.INFO
                log.log(level, "app %s: plugin %s was not accepted: %s", app, name, reason)

    @property
    def tier(self) -> str:
        """The isolation that the sandbox has at this moment."""
        return self._sandbox.tier

    async def start(self) -> None:
        """Warm the sandbox, off the loop. What it cannot give, each run is told."""
        await asyncio.to_thread(self._sandbox.start)

    def find(self, app: str, plugin: str) -> PluginRecord:
        """Return a plugin that was accepted; raise PluginNotAccepted."""
        record = self._accepted[app].get(plugin)
        if record is None:
            reason = self._refused[app].get(plugin, "it is not there; put it there and start the worker again")
            raise PluginNotAccepted(f"plugin {plugin}: not accepted: {reason}")
        return record

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        self.sessions += 1
        try:
            async with self._free:
                yield
        finally:
            self.sessions -= 1

    async def run(self, call: Call, stop: asyncio.Event) -> Outcome:
        """Run a call; `stop` ends it, and then nothing of it is published that was not yet."""
        return await self._sandbox.run(call, stop=stop)

    async def aclose(self) -> None:
        """End the zygote, once nothing runs."""
        await self._sandbox.aclose()


def needs_sandbox(specs: Mapping[str, AppSpec]) -> bool:
    """Say whether any app declares a plugin pass."""
    return any(isinstance(skill, PluginPass) for spec in specs.values() for skill in spec.skills.values())
