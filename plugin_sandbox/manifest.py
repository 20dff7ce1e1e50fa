"""Read a plugin's manifest.yml, and digest its files: strictly, and without importing anything of it.

One bad manifest is that plugin's rejection, whatever is in it. Limits have lower bounds (model.py) and the operator's ceilings; a
text is no number and no truth; unknown keys are refused. Aliases, which let a few bytes become megabytes, are refused.
"""

import hashlib
import os
import stat
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from plugin_sandbox.model import Limits, Manifest
from plugin_sandbox.settings import SandboxSettings

NAME: Final = "manifest.yml"
_MOST_BYTES: Final = 65_536
_MOST_FILES, _MOST_PACKAGE_BYTES = 5_000, 256 * 2**20
_REQUIRED: Final = ("name", "version", "supported_extensions", "api_version")


class ManifestInvalid(Exception):
    """Why a plugin is not accepted."""


class _Strict(yaml.SafeLoader):
    """YAML without aliases and without a key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - yaml's own signature
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({repr(key) for key in keys}) != len(keys):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is there twice; remove one")
        return super().construct_mapping(node, deep=deep)


def read_manifest(folder: Path, settings: SandboxSettings) -> Manifest:
    """Return the manifest of a plugin's folder; raise ManifestInvalid."""
    raw = _load(folder)
    for name in _REQUIRED:
        if name not in raw or raw[name] is None:
            raise ManifestInvalid(f"missing required field '{name}'")
    if isinstance(raw["api_version"], int) and not isinstance(raw["api_version"], bool):
        raw["api_version"] = str(raw["api_version"])
    if raw["api_version"] != "1":
        raise ManifestInvalid(f"unsupported api_version '{raw['api_version']}'")
    extensions = raw["supported_extensions"]
    if not isinstance(extensions, list) or not all(isinstance(one, str) for one in extensions):
        raise ManifestInvalid("supported_extensions must be a list of strings")
    if not isinstance(raw.get("isolation") or {}, dict):
        raise ManifestInvalid("isolation block must be a mapping")
    if raw.get("isolation") is None:
        raw.pop("isolation", None)
    manifest = _validate(raw)
    _check_ceilings(manifest, settings)
    return manifest


def _load(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ManifestInvalid(f"missing {NAME}") from error
    except OSError as error:
        raise ManifestInvalid(f"{NAME}: it cannot be read ({error.strerror}); make it a regular file") from error
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ManifestInvalid(f"{NAME}: it is no regular file; make it one")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ManifestInvalid(f"{NAME}: more than {_MOST_BYTES} bytes; make it shorter")
    try:
        raw = yaml.load(data.decode("utf-8"), Loader=_Strict)  # noqa: S506 - a SafeLoader, and stricter
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestInvalid(f"malformed manifest: {' '.join(str(error).split())[:300]}") from error
    return raw if isinstance(raw, dict) else {}


def _validate(raw: dict[str, Any]) -> Manifest:
    try:
        return Manifest.model_validate(_tuples(raw))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            known = Limits.model_fields if len(problem["loc"]) > 1 else Manifest.model_fields
            near = get_close_matches(str(problem["loc"][-1]), list(known), n=1)
            raise ManifestInvalid(
                f"{place}: unknown; " + (f"did you mean '{near[0]}'?" if near else "remove it")
            ) from error
        if place == "name":
            raise ManifestInvalid(f"invalid name '{raw.get('name')}'") from error
        raise ManifestInvalid(f"{place}: {problem['msg']}; mend it") from error


def _tuples(value: Any) -> Any:
    """Return lists as the tuples that the frozen shapes hold."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def _check_ceilings(manifest: Manifest, settings: SandboxSettings) -> None:
    asked = manifest.isolation
    for name in Limits.model_fields:
        value, most = getattr(asked, name), getattr(settings.ceilings, name)
        if value > most:
            raise ManifestInvalid(f"isolation.{name}={value:g} exceeds cap {most:g}")
    if asked.network and not asked.hosts:
        raise ManifestInvalid("isolation.network: no host is named; name hosts, or leave it out")
    if denied := [host for host in asked.hosts if host not in settings.hosts]:
        raise ManifestInvalid(f"network declared but not granted: {', '.join(denied)}; grant it in hosts")
    granted = {*settings.programs, *settings.programs.values()}
    if denied := [program for program in asked.programs if program not in granted]:
        raise ManifestInvalid(f"programs declared but not granted: {', '.join(denied)}; grant it in programs")


def digest_of(folder: Path) -> str:
    """Return the sha256 over names, modes and contents of a package; raise ManifestInvalid for what is no plain file."""
    total = hashlib.sha256()
    found: list[str] = []
    left = [""]
    while left:
        here = left.pop()
        with os.scandir(os.path.join(folder, here)) as entries:
            for entry in entries:
                if entry.name == "__pycache__":
                    continue
                name = os.path.join(here, entry.name)
                if entry.is_symlink() or not (
                    entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                ):
                    raise ManifestInvalid(f"{name}: neither file nor folder; a package has no links")
                if entry.is_dir(follow_symlinks=False):
                    left.append(name)
                else:
                    found.append(name)
        if len(found) > _MOST_FILES:
            raise ManifestInvalid(f"more than {_MOST_FILES} files; make the package smaller")
    size = 0
    for name in sorted(found):
        with open(os.path.join(folder, name), "rb") as file:
            data, mode = file.read(), os.fstat(file.fileno()).st_mode
        size += len(data)
        if size > _MOST_PACKAGE_BYTES:
            raise ManifestInvalid(f"more than {_MOST_PACKAGE_BYTES} bytes; make the package smaller")
        total.update(f"{len(name)}:{name}:{mode & 0o111:o}:{len(data)}:".encode("utf-8", "surrogateescape"))
        total.update(data)
    return total.hexdigest()
