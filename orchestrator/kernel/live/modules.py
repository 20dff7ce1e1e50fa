"""Load modules: from the source that a resolver names, else from what is installed.

    1  the module is known      its mount function is used again, with this config
    2  a resolver is mounted    resolve(id, source_hint=...) → source → folder → package
    3  it knows nothing, or     entry points of `baton.modules`, then the package `baton_module_<id>`
       there is none            in the search paths and on sys.path

What is found is checked before it is used (`kernel/module_rules.py`), and what it mounted is
checked after it did: a trial mount would act twice. A module has one source per loader; another
one is refused, because it would run other code than the plan names. Which modules a session loads
is not decided here.
"""

import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestrator.contracts.errors import ModuleInvalid, ModuleMissing
from orchestrator.contracts.modules import ModuleInfo, ModuleType
from orchestrator.contracts.mount_plan import MOUNT_POINT_OF
from orchestrator.kernel.live.coordinator import HOOKS, NAMED, Coordinator
from orchestrator.kernel.live.foreign import attempt, settle_awaitable
from orchestrator.kernel.live.module_sources import (
    ModuleSource,
    add_to_path,
    find_package,
    import_package,
    remove_from_path,
)
from orchestrator.kernel.module_rules import (
    ENTRY_POINT_GROUP,
    PACKAGE_PREFIX,
    TYPE_ATTRIBUTE,
    check_mount,
    check_parts,
    find_type,
    package_name,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """A module's own code: `mount`, and `on_session_ready` where it has one."""

    mount: Callable[..., Any]
    module_type: ModuleType
    on_session_ready: Callable[..., Any] | None
    source: Any


@dataclass(frozen=True, slots=True)
class ModuleMount:
    """A loaded module with its config: call it with a coordinator to mount it.

    `on_session_ready` is what the module wants called, with the coordinator, once all are mounted.
    """

    module_id: str
    module_type: ModuleType
    config: dict[str, Any]
    mount: Callable[..., Any]
    on_session_ready: Callable[..., Any] | None = None

    async def __call__(self, coordinator: Coordinator) -> Any:
        """Mount the module; return what its mount returned, which is its cleanup function if it can be called.

        Raises what the module raises, and ModuleInvalid for one that mounted nothing of its type, or
        something that lacks parts; its cleanup function has then run.
        """
        before = _list_mounted(coordinator, self.module_type)
        cleanup = await settle_awaitable(self.mount(coordinator, self.config))
        mounted = _list_mounted(coordinator, self.module_type)
        new = [module for name, module in mounted.items() if name not in before or before[name] is not module]
        problems = [problem for module in new for problem in check_parts(self.module_type, module)]
        if not mounted and self.module_type != "hook":
            problems = [f"its mount mounted no {self.module_type}"]
        if problems:
            if callable(cleanup):
                await attempt(cleanup, record=_record_undo)
            raise ModuleInvalid(self.module_id, problems)
        return cleanup


class ModuleLoader:
    """Finds modules, keeps what it found, and takes back what it put on sys.path.

    `search_paths` are folders with packages, looked at before sys.path. The names by which modules
    are found are parameters: another convention is another loader.
    """

    def __init__(
        self,
        coordinator: Coordinator | None = None,
        search_paths: Iterable[str | Path] | None = None,
        *,
        entry_point_group: str = ENTRY_POINT_GROUP,
        package_prefix: str = PACKAGE_PREFIX,
    ) -> None:
        self._coordinator = coordinator
        self._search_paths = [Path(path) for path in search_paths or ()]
        self._group, self._prefix = entry_point_group, package_prefix
        self._found: dict[str, _Found] = {}
        self._path_entries: list[str] = []

    async def load(
        self,
        module_id: str,
        config: dict[str, Any] | None = None,
        source_hint: Any = None,
        coordinator: Coordinator | None = None,
    ) -> ModuleMount:
        """Return what mounts a module with this config.

        The resolver is the one at `coordinator`, else at the loader's own. Raises ModuleMissing
        where nobody has the module, or only from another source than before; ModuleInvalid for
        what cannot be imported or mounted; and what a resolver raises.
        """
        found = self._found.get(module_id)
        if found is None:
            found = await self._find(module_id, source_hint, coordinator or self._coordinator)
            self._found[module_id] = found
        elif source_hint is not None and source_hint != found.source:
            raise ModuleMissing(
                f"module {module_id!r}: loaded from {found.source!r} before, and {source_hint!r} is asked for; "
                "name one source for a module"
            )
        return ModuleMount(module_id, found.module_type, config or {}, found.mount, found.on_session_ready)

    def discover(self) -> list[ModuleInfo]:
        """Return the modules that could be loaded without a resolver: by entry points, then in the search paths."""
        found = {
            entry.name: self._describe(entry.name, entry.dist.version if entry.dist is not None else "unknown")
            for entry in entry_points(group=self._group)
        }
        for folder in self._search_paths:
            for path in sorted(folder.glob(f"{self._prefix}*")):
                module_id = path.stem.removeprefix(self._prefix).replace("_", "-")
                if module_id not in found and find_package(folder, path.stem) is not None:
                    found[module_id] = self._describe(module_id, "unknown")
        return list(found.values())

    def cleanup(self) -> None:
        """Forget what was found, and take back the folders that were put on sys.path."""
        for folder in self._path_entries:
            remove_from_path(folder)
        self._path_entries.clear()
        self._found.clear()

    async def _find(self, module_id: str, source_hint: Any, coordinator: Coordinator | None) -> _Found:
        resolver = None if coordinator is None else coordinator.get("module-source-resolver")
        missing: ModuleMissing | None = None
        if resolver is not None:
            try:
                return await self._find_by_resolver(resolver, module_id, source_hint)
            except ModuleMissing as error:
                logger.debug(
                    "module %r: the resolver does not know it (%s); looking at what is installed", module_id, error
                )
                missing = error
        found = await self._find_installed(module_id, source_hint)
        if found is None:
            raise missing or ModuleMissing(
                f"module {module_id!r}: no resolver, no entry point of {self._group} and no package "
                f"{package_name(module_id, self._prefix)} has it; install it, or name its source"
            )
        return found

    async def _find_by_resolver(self, resolver: Any, module_id: str, source_hint: Any) -> _Found:
        resolve = getattr(resolver, "async_resolve", None) or resolver.resolve
        source: ModuleSource | None = await settle_awaitable(resolve(module_id, source_hint=source_hint))
        if source is None:
            raise ModuleMissing(f"module {module_id!r}: the resolver gave no source for {source_hint!r}")
        folder = Path(await settle_awaitable(source.resolve()))
        spec = find_package(folder, package_name(module_id, self._prefix))
        if spec is None:
            raise ModuleMissing(
                f"module {module_id!r}: {folder} has no package {package_name(module_id, self._prefix)}"
            )
        self._keep_on_path(folder)
        logger.info("module %r: from %s", module_id, source)
        return await self._read(module_id, partial(import_package, spec), source_hint)

    async def _find_installed(self, module_id: str, source_hint: Any) -> _Found | None:
        for entry in entry_points(group=self._group, name=module_id):
            return await self._read(module_id, partial(_load_entry_point, entry), source_hint)
        package = package_name(module_id, self._prefix)
        for folder in self._search_paths:
            spec = find_package(folder, package)
            if spec is not None:
                self._keep_on_path(folder)
                return await self._read(module_id, partial(import_package, spec), source_hint)
        if not package.isidentifier() or (package not in sys.modules and find_spec(package) is None):
            return None
        return await self._read(module_id, partial(import_module, package), source_hint)

    async def _read(self, module_id: str, load: Callable[[], Any], source_hint: Any) -> _Found:
        """Import a module's code and check that it can be mounted; its errors at import are the module's."""
        outcome = await attempt(load, record=lambda error: logger.debug("module %r: %r", module_id, error))
        if isinstance(outcome.error, Exception | SystemExit):
            error = outcome.error
            raise ModuleInvalid(module_id, [f"it cannot be imported: {type(error).__name__}: {error}"]) from error
        if outcome.error is not None:
            raise outcome.error
        code = outcome.value
        mount = getattr(code, "mount", None)
        module_type, problems = find_type(module_id, getattr(code, TYPE_ATTRIBUTE, None))
        problems += check_mount(mount)
        if problems or mount is None:
            raise ModuleInvalid(module_id, problems)
        return _Found(mount, module_type, getattr(code, "on_session_ready", None), source_hint)

    def _keep_on_path(self, folder: Path) -> None:
        self._path_entries.append(str(folder))
        add_to_path(str(folder))

    def _describe(self, module_id: str, version: str) -> ModuleInfo:
        module_type, _ = find_type(module_id, None)
        return ModuleInfo(
            id=module_id,
            name=module_id.replace("-", " "),
            version=version,
            type=module_type,
            mount_point=MOUNT_POINT_OF[module_type],
            description="",
        )


class _Code:
    """What an entry point led to, when that is a mount function: seen as the module that has it."""

    def __init__(self, mount: Callable[..., Any]) -> None:
        home = sys.modules.get(getattr(mount, "__module__", "") or "")
        self.mount = mount
        self.on_session_ready = getattr(home, "on_session_ready", None)
        setattr(self, TYPE_ATTRIBUTE, getattr(home, TYPE_ATTRIBUTE, None))


def _load_entry_point(entry: EntryPoint) -> Any:
    target = entry.load()
    return target if hasattr(target, "mount") else _Code(target)


def _list_mounted(coordinator: Coordinator, module_type: ModuleType) -> dict[str, Any]:
    """Return what sits at the mount point of a type, by name; hooks are not looked at."""
    point = MOUNT_POINT_OF[module_type]
    if point == HOOKS:
        return {}
    mounted = coordinator.get(point)
    if point in NAMED:
        return dict(mounted)
    return {} if mounted is None else {point: mounted}


def _record_undo(error: BaseException) -> None:
    logger.error("Error during cleanup: %s: %s", type(error).__name__, error, exc_info=error)
