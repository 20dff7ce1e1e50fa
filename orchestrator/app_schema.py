"""The JSON Schemas of what people write: app.yaml, a skill's config.yaml, and the settings.

Made from the models, adjusted to how the loader reads files: a skill's name is where it stands, its
kind is `responsive` if left out, what the loader sets itself is not written, and a text with a variable in it may stand
for a number or a word. They are committed
under config/schemas/ for editors; `write_schemas` brings them up to date and a test tells when they
are not. Loading never uses them.
"""

import json
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.skill import SKILL_PATTERN, Skill
from orchestrator.settings_model import Settings

_Schema: TypeAlias = dict[str, Any]  # JSON Schema, as pydantic gives it

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
#: What the loader sets, and nobody writes.
_SET_BY_LOADER: Final = ("sources", "root")
#: A text with a variable in it: what it comes to, only the loader can tell.
_VARIABLE: Final = r"\$\{"


def app_schema() -> JsonObject:
    """Return the JSON Schema of app.yaml."""
    schema: _Schema = AppSpec.model_json_schema(by_alias=True)
    for field in _SET_BY_LOADER:
        del schema["properties"][field]
    schema["required"] = ["entry_skill"]
    _adjust_skills(schema["$defs"])
    schema["$defs"]["AskStep"]["required"].append("prompt")  # there are no .md files beside a skill of app.yaml
    _take_variables(schema)
    skills = {"type": ["object", "null"], "default": {}, "propertyNames": {"pattern": f"^{SKILL_PATTERN}$"}}
    schema["properties"]["skills"] |= {**skills, "additionalProperties": _by_kind()}
    return {"$schema": _DIALECT, "title": "app.yaml", **_titled(schema, "What one app declares.")}


def skill_schema() -> JsonObject:
    """Return the JSON Schema of skills/<name>/config.yaml."""
    schema: _Schema = TypeAdapter[Skill](Skill).json_schema(by_alias=True)
    _adjust_skills(schema["$defs"])
    _take_variables(schema)
    return {"$schema": _DIALECT, "title": "config.yaml of a skill", "$defs": schema["$defs"], **_by_kind()}


def settings_schema() -> JsonObject:
    """Return the JSON Schema of config/runtime.yaml and of the other files of settings."""
    schema: _Schema = Settings.model_json_schema(by_alias=True)
    _take_variables(schema)
    return {
        "$schema": _DIALECT,
        "title": "Settings of Baton",
        **_titled(schema, "A section that is left out holds its defaults."),
    }


def schema_files() -> dict[str, JsonObject]:
    """Return every schema by the name of its file."""
    return {
        "app.schema.json": app_schema(),
        "skill.schema.json": skill_schema(),
        "runtime.schema.json": settings_schema(),
    }


def render_schema(schema: JsonObject) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in schema_files().items():
        (folder / name).write_text(render_schema(schema), encoding="utf-8")
        written.append(folder / name)
    return written


def _by_kind() -> _Schema:
    """Choose a skill's shape by its kind, so that an editor complains about that kind alone."""
    kinds = {
        "responsive": "Responsive",
        "supervisor": "Supervisor",
        "monitor": "Monitor",
        "tool": "ToolStep",
        "ask": "AskStep",
        "timer": "TimerStep",
        "compute": "ComputeStep",
        "plugin_pass": "PluginPass",
    }
    chosen: _Schema = {"$ref": "#/$defs/Responsive"}
    for kind, name in reversed(list(kinds.items())[1:]):
        condition = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        chosen = {"if": condition, "then": {"$ref": f"#/$defs/{name}"}, "else": chosen}
    return {"type": "object", "properties": {"kind": {"enum": list(kinds)}}, **chosen}


def _adjust_skills(definitions: _Schema) -> None:
    for definition in definitions.values():
        if "kind" in definition.get("properties", {}) and "routes" in definition["properties"]:
            del definition["properties"]["name"]
            # A prompt may stand in .md files beside; whether it stands anywhere is the loader's to say.
            optional = {"name", "kind", "prompt"}
            required = [field for field in definition.get("required", []) if field not in optional]
            definition["required"] = required


def _take_variables(schema: _Schema) -> None:
    """Let a text with a variable in it stand wherever a number, a truth value, one of some words or a name may."""
    below = [
        *schema.get("anyOf", ()),
        *schema.get("oneOf", ()),
        schema.get("items"),
        schema.get("additionalProperties"),
    ]
    for inner in (*schema.get("$defs", {}).values(), *schema.get("properties", {}).values(), *below):
        if isinstance(inner, dict):
            _take_variables(inner)
    if schema.get("type") in ("number", "integer", "boolean"):
        # Bounds are about numbers and the pattern about texts, so that they do not meet.
        schema |= {"type": [schema["type"], "string"], "pattern": _VARIABLE}
    elif "enum" in schema:
        words = {"enum": schema.pop("enum"), "type": schema.pop("type")}
        schema["anyOf"] = [words, {"type": "string", "pattern": _VARIABLE}]
    elif "pattern" in schema:
        schema["pattern"] += f"|{_VARIABLE}"


def _titled(schema: _Schema, description: str) -> _Schema:
    return {
        **{key: value for key, value in schema.items() if key not in ("title", "description")},
        "description": description,
    }
