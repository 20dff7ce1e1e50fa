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
from plugin_sandbox.protocol import escape
from plugin_sandbox.settings import SandboxSettings

NAME: Final = "manifest.yml"
_MOST_BYTES: Final = 65_536
_MOST_BITS: Final = 63
_CHUNK: Final = 1 << 20
_MOST_FILES, _MOST_PACKAGE_BYTES = 5_000, 256 * 2**20
_REQUIRED: Final = ("name", "version", "supported_extensions", "api_version")


class ManifestInvalid(Exception):
    """Why a plugin is not accepted. The words are partly the plugin's own, and escaped."""

    def __init__(self, text: str) -> None:
        super().__init__(escape(text))


class _Strict(yaml.SafeLoader):
    """YAML without aliases, without tags (a value that does not fit its own breaks the parser) and without a key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed; write the value out")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("tags are not allowed; write the value as it is")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: Any) -> int:
        number = int(super().construct_yaml_int(node))
        if number.bit_length() > _MOST_BITS:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a number of more than {_MOST_BITS} bits")
        return number

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - yaml's own signature
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({repr(key) for key in keys}) != len(keys):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is there twice; remove one")
        return super().construct_mapping(node, deep=deep)


_Strict.add_constructor("tag:yaml.org,2002:int", _Strict.construct_yaml_int)


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
    """Return the sha256 over names, modes and contents of a package; raise ManifestInvalid for what is no plain file.

    All of it counts but compiled code in a `__pycache__`, which is never loaded (inner/runner.py).
    """
    total = hashlib.sha256()
    left_bytes = _MOST_PACKAGE_BYTES
    for name in sorted(_list_files(folder)):
        with open(os.path.join(folder, name), "rb", buffering=0) as file:
            shape = os.fstat(file.fileno())
            left_bytes -= shape.st_size  # judged before it is read: a file with holes may be of any size
            if left_bytes < 0:
                raise ManifestInvalid(f"more than {_MOST_PACKAGE_BYTES} bytes; make the package smaller")
            head = f"{len(name)}:{name}:{shape.st_mode & 0o111:o}:{shape.st_size}:"
            total.update(head.encode("utf-8", "surrogateescape"))
            left = shape.st_size
            while left and (data := file.read(min(left, _CHUNK))):
                total.update(data)
                left -= len(data)
        if left:
            raise ManifestInvalid(f"{name}: it became shorter while it was read; look at it again")
    return total.hexdigest()


def _list_files(folder: Path) -> list[str]:
    """Return the names of a package's files; raise ManifestInvalid."""
    found: list[str] = []
    left, folders = [""], 0
    while left:
        here = left.pop()
        is_cache = os.path.basename(here) == "__pycache__"
        with os.scandir(os.path.join(folder, here)) as entries:
            for entry in entries:
                name = os.path.join(here, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    left.append(name)
                    folders += 1
                elif not entry.is_file(follow_symlinks=False):
                    raise ManifestInvalid(f"{name}: neither file nor folder; a package has no links")
                elif not (is_cache and entry.name.endswith(".pyc")):
                    found.append(name)
                if max(len(found), folders) > _MOST_FILES:
                    raise ManifestInvalid(f"more than {_MOST_FILES} files or folders; make the package smaller")
    return found
