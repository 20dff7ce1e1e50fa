"""The JSON Schema of a plugin's manifest.yml, for editors; `python -m plugin_sandbox schema` prints it.

Made from the model, adjusted to how a file is read: `api_version` may be written as a number. What an operator allows - the ceilings of
limits, hosts, programs - is the operator's file's, and no schema's. Reading a manifest never uses it.
"""

import json
from typing import Any, Final

from plugin_sandbox.model import Manifest

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MEANINGS: Final = {
    "name": "What the plugin is called; one of this name is active.",
    "version": "Its version, in quotes: 1.10 is a number without.",
    "api_version": "The plugin interface it is written for.",
    "supported_extensions": "Suffixes such as .csv, or whole names such as Makefile; empty: every file.",
    "author": "Who wrote it.",
    "description": "What it does, in a sentence.",
    "required_variables": "Variables without which it fails before it begins.",
    "optional_variables": "Variables that it takes if they are there.",
    "writes": "Globs below the workspace that it may change; ** goes over any number of folders.",
    "isolation": "What it may use, and what it asks for beyond; the operator's ceilings and grants decide.",
}
_LIMITS: Final = {
    "timeout_seconds": "Seconds on the wall, from its start.",
    "memory_mb": "MiB, the whole tree of processes.",
    "cpu_seconds": "Seconds of processor, the whole tree.",
    "processes": "Processes beside its own first one; 0 refuses to fork.",
    "threads": "Threads in all.",
    "open_files": "Open files of a process.",
    "file_mb": "MiB of one file.",
    "disk_mb": "MiB that it may write, and that may be published.",
    "inodes": "Files and folders that it may make.",
    "stderr_kb": "KiB of log and prints; more ends the run.",
    "result_kb": "KiB of its answer; more ends the run.",
    "prompts": "Questions to a person.",
    "network_mb": "MiB sent and received, over all connections.",
    "network": "That it needs a network; name the hosts.",
    "hosts": "Hosts that it asks for: a name (port 443) or name:port, in lower case.",
    "programs": "Programs that it asks to execute: absolute paths, or names of the operator's.",
}


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest.yml."""
    schema = Manifest.model_json_schema()
    _describe(schema["properties"], _MEANINGS)
    _describe(schema["$defs"]["Isolation"]["properties"], _LIMITS)
    schema["properties"]["api_version"] = {"description": _MEANINGS["api_version"], "enum": ["1", 1]}
    schema["$defs"]["Isolation"]["description"] = _MEANINGS["isolation"]
    return {
        "$schema": _DIALECT,
        **schema,
        "title": "manifest.yml of a plugin",
        "description": "What one plugin declares.",
    }


def render_schema() -> str:
    """Return it as the text of its file."""
    return json.dumps(manifest_schema(), indent=2) + "\n"


def _describe(fields: dict[str, Any], meanings: dict[str, str]) -> None:
    for name, field in fields.items():
        field.pop("title", None)
        field["description"] = meanings[name]
