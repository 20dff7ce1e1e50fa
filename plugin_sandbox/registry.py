"""Which plugins there are: the folders below two roots that have a manifest we accept.

Nothing of a plugin is imported. One bad plugin is that plugin's rejection, whatever is in it, and the others stay. A lab's plugin replaces a
bundled one of the same name; two of one name below one root are both refused, because nobody could say which one is meant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from plugin_sandbox.manifest import ManifestInvalid, digest_of, read_manifest
from plugin_sandbox.model import PluginRecord
from plugin_sandbox.protocol import escape
from plugin_sandbox.settings import SandboxSettings

Root: TypeAlias = Literal["bundled", "lab"]


@dataclass(frozen=True)
class RegistryReport:
    """What a look at the roots found. `rejected`: name, or the folder's name where it has none, -> why."""

    loaded: tuple[str, ...]
    rejected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PluginPlan:
    """A plugin, and those of some files that are its."""

    record: PluginRecord
    files: tuple[str, ...]


class Registry:
    """The accepted plugins; `reload` looks again."""

    def __init__(self, settings: SandboxSettings, *, bundled: Iterable[Path] = (), lab: Iterable[Path] = ()) -> None:
        self._settings = settings
        self._roots: list[tuple[Root, Path]] = [("bundled", root) for root in bundled]
        self._roots += [("lab", root) for root in lab]
        self._records: dict[str, PluginRecord] = {}

    def reload(self) -> RegistryReport:
        """Look at all roots again."""
        found: dict[str, PluginRecord] = {}
        rejected: dict[str, str] = {}
        for kind, root in self._roots:
            here = self._read_root(kind, root, rejected)
            found.update(here)
        self._records = found
        return RegistryReport(tuple(sorted(found)), rejected)

    def _read_root(self, kind: Root, root: Path, rejected: dict[str, str]) -> dict[str, PluginRecord]:
        here: dict[str, PluginRecord] = {}
        twice: set[str] = set()
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if not folder.is_dir() or folder.name.startswith((".", "__")):
                continue
            try:
                manifest = read_manifest(folder, self._settings)
                record = PluginRecord(manifest=manifest, path=folder.resolve(), digest=digest_of(folder), root=kind)
            except ManifestInvalid as error:
                rejected[escape(folder.name)] = str(error)
                continue
            except OSError as error:
                rejected[escape(folder.name)] = escape(f"{error.filename}: {error.strerror}; make it readable")
                continue
            if manifest.name in here:
                twice.add(manifest.name)
            here[manifest.name] = record
        for name in twice:
            del here[name]
            rejected[name] = f"two plugins below {root} have this name; rename one"
        return here

    def get(self, name: str) -> PluginRecord | None:
        """Return a plugin, None where none of that name is accepted."""
        return self._records.get(name)

    def list_all(self) -> tuple[PluginRecord, ...]:
        """Return every plugin, by name."""
        return tuple(self._records[name] for name in sorted(self._records))

    def candidates_for(self, files: Iterable[str]) -> tuple[PluginPlan, ...]:
        """Return the plugins that some of these files are for, by name."""
        names = tuple(files)
        plans = (PluginPlan(record, choose_files(record, names)) for record in self.list_all())
        return tuple(plan for plan in plans if plan.files)


def choose_files(record: PluginRecord, files: Iterable[str]) -> tuple[str, ...]:
    """Return the files that a plugin's extensions name, in any case of letters; without extensions, all.

    A file without a suffix is meant by its whole name: `Makefile`, `.gitignore`.
    """
    wanted = {one.lower() for one in record.manifest.supported_extensions}
    return tuple(
        name
        for name in files
        if not wanted or (PurePosixPath(name).suffix or PurePosixPath(name).name).lower() in wanted
    )
