"""Find the names of an app's plugins, without trusting, importing or judging any of them.

A plugin is a folder with a manifest.yml: those of the app's own `plugins/`, and those of the operator's folder
(`apps.plugins`), which go before them. Whether a plugin is accepted is the sandbox's to say, in the workers.
"""

import os
from pathlib import Path
from typing import Final

import yaml

PLUGINS_FOLDER: Final = "plugins"
MANIFEST: Final = "manifest.yml"
_MOST_BYTES: Final = 65_536


def plugin_roots(root: str, operators: str = "") -> tuple[Path, Path | None]:
    """Return where an app's own plugins lie, and where the operator's, None without."""
    return Path(root) / PLUGINS_FOLDER, Path(operators).expanduser() if operators else None


def find_plugins(*roots: Path | None) -> dict[str, Path]:
    """Return the folders of plugins by name; a later root goes before an earlier one, a missing one is empty.

    The name of one whose manifest cannot be read is its folder's: it is there, and refused later with its reason.
    """
    found: dict[str, Path] = {}
    for root in roots:
        if root is None or not root.is_dir():
            continue
        for folder in sorted(root.iterdir()):
            if folder.name[0] not in "._" and _has_manifest(folder):
                found[_name_of(folder)] = folder
    return found


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).is_file()
    except OSError:
        return True  # a folder that is closed to us may well have one: it is refused later, with its reason


def _name_of(folder: Path) -> str:
    try:
        opened = os.open(folder / MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as file:
            data = file.read(_MOST_BYTES)
        # Tokens alone: nothing is built of them, so that an alias cannot make much of little.
        for event in yaml.parse(data, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                return folder.name
        node = yaml.compose(data, Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return folder.name
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == "name" and isinstance(value, yaml.ScalarNode) and value.value:
            return str(value.value)
    return folder.name
