"""The committed JSON Schemas are current, valid, and agree with the loader."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from orchestrator.app_schema import app_schema, render_schema, schema_files, settings_schema, skill_schema
from orchestrator.app_source import gather
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.yaml_source import check
from tests.unit.orchestrator.app_folder import FILES

#: Every kind of field that an app.yaml has, by itself: the shape counts here, not whether it holds together.
WIDE = """
name: wide
session_id_prefix: WID
entry_skill: ask
version: "1"
signals: [success]
statuses: {done: {terminal: true, kind: success, mirrors: {a: b}}}
default_terminal_status: done
terminal_tools: [{tool_name: finish, status: done, extract_fields: {team: [args.team]}, match_args: {a: b}}]
escalate_action_args: {a: team}
confidence_threshold: 0.5
injected_args: {a: session.id}
environments: [dev]
tools: {finish: {effect: read_only, on_uncertain: fail, timeout_seconds: 3, updates: [{into: a, op: append, from: args.a}]}}
mcp_servers:
  - {name: local, module: local.py, enabled: true, config: {a: 1}}
  - {name: far, url: "http://far", headers: {A: b}}
  - {name: near, command: [near], env: {A: b}}
model:
  {provider: rules, model: m, request_timeout_seconds: 5, options: {a: [1]}, patience_seconds: 3, stream: true,
   rules: {look: [{when: a, call: [{tool: t, args: {a: 1}, for_each: a, when: a}], confidence: 0.5, say: a, signal: a}]},
   fallback: [{provider: p, model: m, request_timeout_seconds: 5}]}
context: {manager: simple, max_tokens: 1000, keep_tokens: 10, summary_tokens: 60}
gateway:
  {policy: {finish: high}, default: low, approval_timeout_seconds: 5, approvers: [ann],
   prod_overrides: {prod_environments: [dev], resolution_trigger_tools: [f*]}}
gate_policy: {confidence_threshold: 0.5, gated_environments: [dev], gated_risk_actions: [approve]}
retry_policy: {max_retries: 1, retry_on_transient: true, retry_low_confidence_threshold: 0.5}
hooks: [{call: "a.py:f", event: "tool:pre", name: n, priority: 3, critical: true, timeout_seconds: 3, approvers: [ann]}]
hook_limits: {injection_size_limit: 3, injection_budget_per_turn: 3}
budget: {session: {turns: 3, wall_seconds: 3}, app: {tokens: 5, per: day}, warn_at: 0.5, status: done}
max_running: 3
max_turns: 4
max_steps: 5
triggers:
  - {kind: webhook, name: hook, auth: bearer, secret_env: [A], payload_schema: "a.py:A", idempotency_ttl_hours: 3, priority: low}
  - {kind: schedule, name: clock, schedule: "* * * * *", timezone: UTC, payload: {a: 1}, catch_up_seconds: 3}
skills:
  ask: {kind: ask, prompt: p, into: a, timeout_seconds: 3, routes: [{when: default, next: __end__, gate: confidence}]}
  look: {kind: responsive, prompt: p, model: m, tools: {local: ["*"]}}
  send: {kind: supervisor, subordinates: [ask], dispatch_strategy: rule, dispatch_rules: [{when: a, target: ask}],
         max_dispatch_depth: 3, for_each: a, item_key: a, into: a, join: all, max_children: 3}
  watch: {kind: monitor, schedule: "* * * * *", observe: t, emit_signal_when: a, trigger_target: ask, tick_timeout_seconds: 3}
  call: {kind: tool, tool: t, args: {a: 1}}
  nap: {kind: timer, seconds: 1, until_signal: a}
  think: {kind: compute, call: "a.py:f", timeout_seconds: 3}
  pass: {kind: plugin_pass, plugins: [a], workspace: a, files: [a], variables: {a: 1}, context: {project: a}, into: a,
         dry_run: true, input_timeout_seconds: 3}
"""
#: What is put in the place of each value. Texts that read as numbers, and truth values for them, an editor underlines and
#: the loader reads: they are none of these.
STRANGE = [None, -1, 10**12, "", "x" * 300, "inf", [], [1], {"x": "y"}]

CONFIG = Path(__file__).resolve().parents[3] / "config"


def errors(schema: JsonObject, text: str) -> list[str]:
    """Return what an editor would underline."""
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("name", schema_files())
def test_the_committed_schema_is_current(name: str) -> None:
    """Editors read the committed file; `baton apps schema` writes it again."""
    schema = schema_files()[name]

    assert (CONFIG / "schemas" / name).read_text(encoding="utf-8") == render_schema(schema)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_what_loads_is_valid_for_editors() -> None:
    """An editor that complains about a good app teaches people to ignore it."""
    assert errors(app_schema(), FILES["app.yaml"]) == []
    assert errors(skill_schema(), FILES["skills/look/config.yaml"]) == []


@pytest.mark.parametrize("name", ["runtime.yaml", "queues.yaml", "logging.yaml", "api.yaml"])
def test_the_files_of_settings_are_valid_for_editors(name: str) -> None:
    """They name the schema in their first line."""
    text = (CONFIG / name).read_text(encoding="utf-8")

    assert errors(settings_schema(), text) == []
    assert text.startswith("# yaml-language-server: $schema=schemas/runtime.schema.json\n")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("entry_skil: x", "'entry_skil' was unexpected"),
        ("entry_skill: x\nroot: /", "'root' was unexpected"),
        ("entry_skill: x\nskills: {a: {kind: timer, second: 1}}", "'second' was unexpected"),
        ("entry_skill: x\nskills: {a: {kind: timr}}", "'timr' is not one of"),
        ("entry_skill: x\nskills: {a: {kind: timer, seconds: 1, name: a}}", "'name' was unexpected"),
    ],
)
def test_what_does_not_load_is_underlined(text: str, fragment: str) -> None:
    """The sooner a typing error is seen, the cheaper it is."""
    assert any(fragment in message for message in errors(app_schema(), text))


def test_every_field_of_an_app_is_described() -> None:
    """The description is what an editor shows on hover."""
    properties = app_schema()["properties"]

    assert isinstance(properties, dict)
    assert [
        name for name, field in properties.items() if not (isinstance(field, dict) and field.get("description"))
    ] == []


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value within one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def part_of(wide: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """Return a copy of the wide app with no more in it than its names and what stands around a place."""
    top = path[0]
    kept = {name: wide[name] for name in ("name", "entry_skill", top)}
    if top == "skills" and len(path) > 1:
        kept["skills"] = {path[1]: wide["skills"][path[1]]}
    return deepcopy({"skills": {}, **kept})


def changed(wide: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return that part of the wide app with another value at the place."""
    inner = data = part_of(wide, path)
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return data


def loads(folder: Path, data: JsonObject, **env: str) -> bool:
    """Say whether the loader reads the app's shape."""
    (folder / "app.yaml").write_text(json.dumps(data), encoding="utf-8")
    return check(AppSpec, gather(folder, env)) is not None


def test_editor_and_loader_agree_on_every_field(tmp_path: Path) -> None:
    """A value that one of them takes and the other refuses is a surprise at the wrong time."""
    validator = jsonschema.Draft202012Validator(app_schema())
    wide = yaml.safe_load(WIDE)
    assert loads(tmp_path, wide)
    surprises = []
    for path in places(wide):
        cases = [(path, value, changed(wide, path, value)) for value in STRANGE]
        for key in ("extra", "source", "root", "name") if len(path) > 1 and isinstance(path[-1], str) else ():
            data = part_of(wide, path)
            inner: Any = data
            for part in path[:-1]:
                inner = inner[part]
            inner[key] = "x"
            cases.append(((*path[:-1], key), "x", data))
        surprises += [(at, value) for at, value, data in cases if validator.is_valid(data) is not loads(tmp_path, data)]

    assert surprises == []


def test_a_variable_may_stand_for_every_value(tmp_path: Path) -> None:
    """What an editor underlines although it loads, people learn to overlook."""
    validator = jsonschema.Draft202012Validator(app_schema())
    wide = yaml.safe_load(WIDE)
    for path in places(wide):
        value = wide
        for part in path:
            value = value[part]
        if isinstance(value, dict | list) or path[-1] in ("kind", "gate"):
            continue
        data = changed(wide, path, "${N:?give it}")

        assert loads(tmp_path, data, N=json.dumps(value) if isinstance(value, bool) else str(value)), path
        assert validator.is_valid(data), path


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("entry_skill: x\nskills: {a: {kind: ask, into: x}}", "'prompt' is a required property"),
        ("entry_skill: x\nskills: {A b: {kind: timer, seconds: 1}}", "'A b' does not match"),
        ("entry_skill: x\nskills: {a: {kind: timer, seconds: -1}}", "-1 is less than the minimum"),
        ("entry_skill: x\nmax_turns: five", "'five' does not match"),
    ],
)
def test_a_skill_of_app_yaml_is_underlined_where_it_is_wrong(text: str, fragment: str) -> None:
    """It has no folder beside it that could complete it."""
    assert any(fragment in message for message in errors(app_schema(), text))
