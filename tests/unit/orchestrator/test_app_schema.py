"""The committed JSON Schemas are current, valid, and agree with the loader."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestrator.app_schema import app_schema, render_schema, schema_files, settings_schema, skill_schema
from orchestrator.contracts.base import JsonObject
from tests.unit.orchestrator.app_folder import FILES

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
