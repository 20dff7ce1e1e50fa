"""Where modules come from: folders, and resolvers that know which folder.

A resolver sits at the mount point `module-source-resolver` and turns a module's id and the source
that a plan names for it into a `ModuleSource`; that one turns into the folder with the package. A
resolver that does not know a module raises ModuleMissing, and the loader looks elsewhere.
"""

import importlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import RLock
from types import ModuleType as PythonModule
from typing import Any, Protocol

from orchestrator.contracts.errors import ModuleMissing
from orchestrator.kernel.module_rules import PACKAGE_PREFIX, package_name

_lock = RLock()
#: Folder → how many loaders have put it on sys.path; it leaves with the last of them.
_on_path: Counter[str] = Counter()


class ModuleSource(Protocol):
    """One place that has a module."""

    def resolve(self) -> Path:
        """Return the folder that holds the module's package, or is it."""
        ...


class ModuleSourceResolver(Protocol):
    """Knows where modules are. One with `async_resolve` in place of `resolve`, or beside it, is awaited."""

    def resolve(self, module_id: str, source_hint: Any = None) -> ModuleSource:
        """Return a module's source; raise ModuleMissing for a module that it does not know."""
        ...


class FolderSource:
    """A folder, as a module's source."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def resolve(self) -> Path:
        """Return the folder."""
        return self._path

    def __repr__(self) -> str:
        return f"FolderSource({str(self._path)!r})"


class FolderResolver:
    """Finds modules in folders, the first that has one; a source that a plan names is a folder itself."""

    def __init__(self, folders: Iterable[str | Path], *, package_prefix: str = PACKAGE_PREFIX) -> None:
        self._folders = [Path(folder) for folder in folders]
        self._prefix = package_prefix

    def resolve(self, module_id: str, source_hint: Any = None) -> FolderSource:
        """Return the folder of a module; raise ModuleMissing."""
        folders = self._folders if source_hint is None else [Path(str(source_hint).removeprefix("file://"))]
        for folder in folders:
            if find_package(folder, package_name(module_id, self._prefix)) is not None:
                return FolderSource(folder)
        raise ModuleMissing(
            f"module {module_id!r}: not in {', '.join(map(str, folders)) or 'any folder'}; "
            f"it would be the package {package_name(module_id, self._prefix)}"
        )


class FileSystemModuleSource:
    """Folders with modules, and names under which files in them may be mentioned."""

    def __init__(
        self, paths: Iterable[str | Path] | None = None, mention_mappings: Mapping[str, Path] | None = None
    ) -> None:
        self._paths = [Path(path) for path in paths or ()]
        self._mention_mappings = dict(mention_mappings or {})

    def get_module_paths(self) -> list[Path]:
        """Return the folders, as a copy."""
        return list(self._paths)

    def get_mention_mappings(self) -> dict[str, Path]:
        """Return name → folder, as a copy."""
        return dict(self._mention_mappings)


def find_package(folder: Path, package: str) -> ModuleSpec | None:
    """Return how a package would be imported from a folder that holds it (`src` too), or that is it."""
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(package, [str(folder), str(folder / "src")])
    if spec is not None and spec.loader is not None and spec.has_location:
        return spec
    file = folder / "__init__.py"
    if folder.name != package or not file.is_file():
        return None
    return spec_from_file_location(package, file, submodule_search_locations=[str(folder)])


def import_package(spec: ModuleSpec) -> PythonModule:
    """Import what was found, once per process; what its code raises is raised.

    Raises ImportError where the process has the package from somewhere else: it would run other
    code than the plan names.
    """
    with _lock:
        known = sys.modules.get(spec.name)
        if known is not None:
            origin = known.__spec__.origin if known.__spec__ is not None else None
            if origin == spec.origin:
                return known
            raise ImportError(
                f"package {spec.name}: this process has it from {origin}, and {spec.origin} is asked for; "
                "run the two in two processes"
            )
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        is_done = False
        try:
            if spec.loader is not None:
                spec.loader.exec_module(module)
            is_done = True
        finally:
            if not is_done:
                sys.modules.pop(spec.name, None)
        return module


def add_to_path(folder: str) -> None:
    """Let a module's own dependencies in its folder be imported, behind everything that is installed."""
    with _lock:
        if folder not in sys.path:
            sys.path.append(folder)
            _on_path[folder] = 0
        if folder in _on_path:
            _on_path[folder] += 1


def remove_from_path(folder: str) -> None:
    """Take back one `add_to_path`; a folder that was on the path before stays."""
    with _lock:
        if folder not in _on_path:
            return
        _on_path[folder] -= 1
        if _on_path[folder] <= 0:
            del _on_path[folder]
            if folder in sys.path:
                sys.path.remove(folder)
