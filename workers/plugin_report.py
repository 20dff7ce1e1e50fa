"""`python -m workers.plugin_report FOLDER…`: say of each plugin's folder whether it would be accepted, as JSON.

What `baton plugins` prints is read here, in a process of its own: the command line knows no sandbox. Nothing of a plugin is
imported. One object a folder, in their order: {folder, ok, reason, plugin, version, …}.

Some slips the sandbox takes as they are, for packages that were written for an older host have them: a suffix by which no file is
chosen, no file to begin with. Their authors are told here.
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.settings import find_config_dir
from plugin_sandbox.manifest import ManifestInvalid, digest_of, read_manifest
from plugin_sandbox.model import Manifest
from plugin_sandbox.settings import SandboxSettings
from workers.plugins import load_sandbox_settings

FAILED: Final = 1
#: `.csv`, or the whole name of a file that has no suffix: Makefile, .gitignore. What no file could be chosen by (`*.csv`, `.tar.gz`) is
#: neither; nor are up to five small letters and digits, which are a suffix whose dot was forgotten: a file `data` is meant by `Data`.
_SUFFIX: Final = re.compile(r"\.[^./*?\[]+|[^./*?\[]{6,}|[^./*?\[]*[^a-z0-9./*?\[][^./*?\[]*")


def main(argv: Sequence[str]) -> int:
    """Print the report; return 1 where the operator's own settings cannot be read."""
    try:
        settings = load_sandbox_settings(find_config_dir(os.environ))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    sys.stdout.write(dump_json([report(Path(folder), settings) for folder in argv]) + "\n")
    return 0


def report(folder: Path, settings: SandboxSettings) -> JsonObject:
    """Return what is to be said of one folder."""
    told: JsonObject = {"folder": str(folder), "ok": False, "reason": "", "plugin": folder.name, "version": ""}
    try:
        manifest = read_manifest(folder, settings)
        digest = digest_of(folder)
        _check_slips(folder, manifest)
    except ManifestInvalid as error:
        return {**told, "reason": str(error)}
    except OSError as error:
        return {**told, "reason": f"{error.filename}: {error.strerror}; make it readable"}
    return {
        **told,
        "ok": True,
        "plugin": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "files": list(manifest.supported_extensions),
        "writes": list(manifest.writes),
        "digest": digest,
        "isolation": load_json(manifest.isolation.model_dump_json()),
    }


def _check_slips(folder: Path, manifest: Manifest) -> None:
    """Raise ManifestInvalid for what cannot be meant."""
    for number, one in enumerate(manifest.supported_extensions):
        if not _SUFFIX.fullmatch(one):
            known = f"'.{one}'" if one.isalnum() else "a suffix such as .csv, or a whole name such as Makefile"
            raise ManifestInvalid(f"supported_extensions.{number}: no file is chosen by '{one}'; write {known}")
    if not (folder / "__init__.py").is_file():
        raise ManifestInvalid("no __init__.py lies beside it; write one, with a class Plugin")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
