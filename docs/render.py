"""Render the tables of docs/reference from the code that they describe: `python -m docs.render`.

A page holds its own prose, and between `<!-- begin NAME -->` and `<!-- end NAME -->` a table that this module
makes: fields of app.yaml and of skills from the committed JSON Schemas, settings from their models and from the
comments of config/, acts of the store from its scripts, commands from the command line, operations of the HTTP API from its routes,
tools from the MCP server. The whole
description of that API goes to openapi.json. tests/docs keeps the pages equal to what is rendered here.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from docs.render_cli import render_commands
from docs.render_http import render_openapi, render_operations
from docs.render_mcp import render_resources, render_tools
from orchestrator.exporter import METRICS
from orchestrator.settings_model import Settings, TransportOptions
from orchestrator.store.scripts import FOLDER, load_scripts

Schema: TypeAlias = Mapping[str, Any]  # JSON Schema, as it stands in config/schemas

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = ROOT / "docs" / "reference"
SCHEMAS: Final = ROOT / "config" / "schemas"
CONFIG_FILES: Final = ("runtime.yaml", "queues.yaml", "logging.yaml", "api.yaml")

#: Every field of app.yaml stands in one group, in the order in which a reader meets it.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "The app": ("name", "version", "description", "session_id_prefix", "entry_skill", "state_schema", "skills"),
    "How a session ends": (
        "statuses",
        "default_terminal_status",
        "cancelled_status",
        "terminal_tools",
        "escalate_action_tool_name",
        "escalate_action_default_team",
        "escalate_action_args",
        "escalation_teams",
    ),
    "Signals and confidence": ("signals", "confidence_threshold", "harvest_terminal_tools", "patch_tools"),
    "Tools": ("mcp_servers", "injected_args", "tools"),
    "What waits for a person": ("environments", "gateway", "gate_policy"),
    "Hooks": ("hooks", "hook_limits"),
    "The model": ("model", "context"),
    "What starts sessions": ("triggers",),
    "Retries and limits": ("retry_policy", "budget", "max_running", "max_turns", "max_steps"),
}
#: The kinds of skills, by the name of their definition.
KINDS: Final[Mapping[str, str]] = {
    "Responsive": "responsive",
    "Supervisor": "supervisor",
    "ToolStep": "tool",
    "AskStep": "ask",
    "TimerStep": "timer",
    "ComputeStep": "compute",
    "PluginPass": "plugin_pass",
    "Monitor": "monitor",
}
COMMON: Final = ("kind", "description", "routes")
#: What stands beside the words of a field in the schemas.
VARIABLE: Final = {"type": "string", "pattern": r"\$\{"}
_WORDS: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_BOUNDS: Final = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("maxLength", "≤ {} characters"),
    ("pattern", "`{}`"),
)


def render_app() -> str:
    """Return the fields of app.yaml, group by group."""
    schema = _read("app.schema.json")
    fields = schema["properties"]
    told = [name for names in GROUPS.values() for name in names]
    if sorted(told) != sorted(fields):
        raise ValueError(f"GROUPS: {sorted(set(told) ^ set(fields))}; give each field of app.yaml one group")
    parts = []
    for title, names in GROUPS.items():
        rows = [
            row for name in names for row in _rows(name, fields[name], schema, is_required=name in schema["required"])
        ]
        parts.append(f"### {title}\n\n{_table(('field', 'type', 'default', 'meaning'), rows)}")
    return "\n\n".join(parts)


def render_skills() -> str:
    """Return the fields of every kind of skill."""
    schema = _read("skill.schema.json")
    definitions = schema["$defs"]
    if KINDS.keys() != {name for name, one in definitions.items() if "kind" in one.get("properties", ())}:
        raise ValueError("KINDS: not every kind of skill has its section")
    head = ("field", "type", "default", "meaning")
    common = definitions["Responsive"]["properties"]
    rows = [row for name in COMMON[1:] for row in _rows(name, common[name], schema, is_required=False)]
    kinds = ", ".join(f"`{kind}`" for kind in KINDS.values())
    rows.insert(0, ("`kind`", kinds, "`responsive`", "What the skill is."))
    parts = [f"## Every skill\n\n{_table(head, rows)}"]
    for name, kind in KINDS.items():
        one = definitions[name]
        rows = [
            row
            for field, body in one["properties"].items()
            if field not in COMMON
            for row in _rows(field, body, schema, is_required=field in one.get("required", ()))
        ]
        text = " ".join(one["description"].split())
        parts.append(f"## kind: {kind}\n\n{text}\n\n{_table(head, rows)}")
    return "\n\n".join(parts)


def render_settings() -> str:
    """Return every setting with its default, its bounds, and the unit and reason that config/ gives."""
    head = ("setting", "default", "bounds", "meaning", "unit; reason of the default")
    reasons = read_reasons()
    schema = Settings.model_json_schema()
    parts = []
    for section, body in Settings.model_fields.items():
        model = body.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"settings.{section}: not a section")
        rows = [
            (f"`{path.partition('.')[2]}`", _default(value), _bounds(field), field["description"], reasons[path])
            for path, value, field in _settings(section, model, schema)
        ]
        parts.append(f"### {section}\n\n{_table(head, rows)}")
    return "\n\n".join(parts)


def render_scripts() -> str:
    """Return the acts of the store: the keys that each declares, and what it may answer."""
    rows = []
    for name, script in load_scripts().items():
        source = (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        what = re.search(rf"^-- {name}: (.+?)(?:\.\s|\.$|\n--\s*\n)", source, re.MULTILINE | re.DOTALL)
        text = " ".join((what[1] if what else "").replace("\n--", " ").split())
        answers = ", ".join(f"`{answer}`" for answer in list_answers(source))
        if re.search(r"return \{[a-z_]+,", source):  # it answers with values, and no word before them
            answers = ", ".join(filter(None, ("values, see below", answers)))
        rows.append((f"`{name}`", text, ", ".join(script.keys), answers))
    return _table(("act", "what it does", "keys", "answers"), rows)


def list_answers(source: str) -> list[str]:
    """Return the words that a script may answer with, in the order in which they stand.

    >>> list_answers("return {'stale'}\\nreturn {found and 'existing' or 'taken'}\\nreturn {'stale', 1}")
    ['stale', 'existing', 'taken']
    """
    words = [word for line in re.findall(r"return \{([^,}]*)", source) for word in re.findall(r"'(\w+)'", line)]
    return list(dict.fromkeys(words))


def read_reasons() -> dict[str, str]:
    """Return the comment behind each setting in config/, by dotted path: its unit and the reason of its value."""
    found: dict[str, str] = {}
    for name in CONFIG_FILES:
        path: list[str] = []
        for line in (ROOT / "config" / name).read_text(encoding="utf-8").splitlines():
            match = re.match(r"( *)(\w+):(?:[^#\"]|\"[^\"]*\")*(?:# *(.*))?$", line)
            if match is None:
                continue
            path = [*path[: len(match[1]) // 2], match[2]]
            found[".".join(path)] = (match[3] or "").strip()
    return found


def _settings(section: str, model: type[BaseModel], schema: Schema) -> Iterator[tuple[str, object, Schema]]:
    """Yield path, default and schema of each field; Celery's own options stand one level deeper."""
    properties = schema["$defs"][model.__name__]["properties"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, TransportOptions):
            yield from _settings(f"{section}.{name}", field.annotation, schema)
        else:
            yield f"{section}.{name}", getattr(model(), name), properties[name]


def _rows(path: str, field: Schema, schema: Schema, *, is_required: bool) -> Iterator[tuple[str, str, str, str]]:
    """Yield the row of a field, then those of the shape that it holds, by dotted path."""
    inner, below = _inner(path, field)
    reference = inner.get("$ref", "").rpartition("/")[2]
    default = "**required**" if is_required else _default(field.get("default"))
    if not is_required and "default" not in field and path == "prompt":
        default = "**required**, here or in .md files"
    shape = schema["$defs"].get(reference)
    if shape is not None and isinstance(field.get("default"), dict) and field["default"]:
        default = "as below"
    yield f"`{path}`", _type(field), default, _meaning(field)
    if shape is None or "properties" not in shape:
        return
    for name, body in shape["properties"].items():
        yield from _rows(f"{below}.{name}", body, schema, is_required=name in shape.get("required", ()))


def _inner(path: str, field: Schema) -> tuple[Schema, str]:
    """Return what a field holds at its deepest, and the path to it."""
    for choice in field.get("anyOf", ()):
        if choice.get("type") != "null":
            return _inner(path, choice)
    if field.get("type") == "array" and isinstance(field.get("items"), dict):
        return _inner(f"{path}[]", field["items"])
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return _inner(f"{path}.NAME", field["additionalProperties"])
    return field, path


def _type(field: Schema) -> str:
    kind = field.get("type")
    if isinstance(kind, list):  # a number, or a text with a variable in it: said once, not at each field
        field = {name: value for name, value in field.items() if name != "pattern"} | {"type": kind[0]}
    if "pattern" in field:
        field = {**field, "pattern": field["pattern"].removesuffix(f"|{VARIABLE['pattern']}")}
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return "" if field["$ref"].endswith("/JsonValue") else "mapping"
    if "anyOf" in field:
        choices = [one for one in field["anyOf"] if one != VARIABLE and one.get("type") != "null"]
        return " or ".join(dict.fromkeys(_type(one) for one in choices))
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}" if field.get("items") else "list"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"mapping of {_type(inner)}" if isinstance(inner, dict) and _type(inner) else "mapping"
    word = _WORDS.get(str(field.get("type")), "any value")
    bounds = _bounds(field)
    return f"{word}, {bounds}" if bounds else word


def _bounds(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    return ", ".join(sign.format(_plain(field[name])) for name, sign in _BOUNDS if name in field)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default(value: object) -> str:
    if value is None:
        return "none"
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{plain if isinstance(plain, str) and plain else json.dumps(plain)}`"


def _meaning(field: Schema) -> str:
    text = str(field.get("description", ""))
    examples = field.get("examples")
    if not examples:
        return text
    shown = ", ".join(f"`{one if isinstance(one, str) else json.dumps(one)}`" for one in examples)
    return f"{text} E.g. {shown}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join(line(cells) for cells in (head, ["---"] * len(head), *rows))


def _read(name: str) -> Schema:
    found: Schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return found


def render_metrics() -> str:
    """Return every metric: its kind, its labels, what it means."""
    rows = [(f"`{name}`", kind, meaning) for name, (kind, meaning) in METRICS.items()]
    return _table(("metric", "kind", "meaning"), rows)


#: Page → block → what it holds.
PAGES: Final = {
    "app_yaml.md": {"app": render_app},
    "skill_yaml.md": {"skills": render_skills},
    "settings.md": {"settings": render_settings},
    "store.md": {"scripts": render_scripts},
    "commands.md": {"commands": render_commands},
    "metrics.md": {"metrics": render_metrics},
    "http.md": {"operations": render_operations},
    "mcp.md": {"tools": render_tools, "resources": render_resources},
}


def render_page(name: str, text: str) -> str:
    """Return a page with its blocks as they should be; raise ValueError where a block is not marked."""
    for block, render in PAGES[name].items():
        pattern = re.compile(rf"(<!-- begin {block} -->\n).*?(<!-- end {block} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"docs/reference/{name}: block {block!r} is not there, or twice; mark where it goes")
        made = render()
        text = pattern.sub(lambda match, made=made: f"{match[1]}\n{made}\n{match[2]}", text)  # type: ignore[misc]
    return text


def main() -> None:
    """Bring every page up to date."""
    for name in PAGES:
        page = REFERENCE / name
        page.write_text(render_page(name, page.read_text(encoding="utf-8")), encoding="utf-8")
    (REFERENCE / "openapi.json").write_text(render_openapi(), encoding="utf-8")


if __name__ == "__main__":
    main()
