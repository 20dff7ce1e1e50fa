"""The manifest's JSON Schema: current, and of one mind with the reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from plugin_sandbox.manifest import ManifestInvalid, read_manifest
from plugin_sandbox.schema import manifest_schema, render_schema
from plugin_sandbox.settings import SandboxSettings

COMMITTED = Path("config/schemas/plugin_manifest.schema.json")
GOOD: dict[str, Any] = {"name": "p", "version": "1", "api_version": "1", "supported_extensions": [".txt"]}


def test_the_committed_schema_is_current() -> None:
    """Editors complete by it. After a change: python -m plugin_sandbox schema > config/schemas/plugin_manifest.schema.json"""
    assert COMMITTED.read_text(encoding="utf-8") == render_schema()


def test_the_command_prints_it() -> None:
    """Whoever has the package alone has the schema, too."""
    done = subprocess.run(
        [sys.executable, "-m", "plugin_sandbox", "schema"], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == manifest_schema()


@pytest.mark.parametrize(
    ("change", "is_good"),
    [
        ({}, True),
        ({"api_version": 1}, True),
        ({"isolation": {"processes": 3, "hosts": ["a.org:8080"]}}, True),
        ({"writes": ["out/**"], "required_variables": ["x"]}, True),
        ({"api_version": "2"}, False),
        ({"name": "a b"}, False),
        ({"version": 1.1}, False),
        ({"supported_extensions": ".txt"}, False),
        ({"isolation": {"memory_mb": 0}}, False),
        ({"isolation": {"memory_mb": "512"}}, False),
        ({"isolation": {"hosts": ["*.org"]}}, False),
        ({"isolation": {"netwrok": True}}, False),
        ({"colour": "red"}, False),
    ],
)
def test_the_schema_and_the_reader_agree(tmp_path: Path, change: dict[str, Any], *, is_good: bool) -> None:
    """What an editor lets pass is read, and what it marks is not."""
    manifest = {**GOOD, **change}
    (tmp_path / "manifest.yml").write_text(yaml.safe_dump(manifest))

    errors = list(Draft202012Validator(manifest_schema()).iter_errors(manifest))
    try:
        read_manifest(tmp_path, SandboxSettings(hosts=("a.org:8080",)))
        is_read = True
    except ManifestInvalid:
        is_read = False

    assert (not errors, is_read) == (is_good, is_good), errors


@pytest.mark.parametrize(
    "path", sorted(Path().glob("**/apps/*/plugins/*/manifest.yml")), ids=lambda path: path.parent.name
)
def test_the_plugins_of_the_apps_fit_it(path: Path) -> None:
    """They are what authors copy from."""
    assert list(Draft202012Validator(manifest_schema()).iter_errors(yaml.safe_load(path.read_text()))) == []
