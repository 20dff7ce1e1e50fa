"""`python -m workers.plugin_report FOLDER…`: say of each plugin's folder whether it would be accepted, as JSON.

What `baton plugins` prints is read here, in a process of its own: the command line knows no sandbox. Nothing of a plugin is
imported. One object a folder, in their order: {folder, ok, reason, plugin, version, …}.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.settings import find_config_dir
from plugin_sandbox.manifest import ManifestInvalid, digest_of, read_manifest
from plugin_sandbox.settings import SandboxSettings
from workers.plugins import load_sandbox_settings

FAILED = 1


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
