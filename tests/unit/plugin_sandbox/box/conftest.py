"""A real sandbox over real workspaces: what the box's tests run plugins in."""

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call
from plugin_sandbox.settings import SandboxSettings
from tests.plugin_runs import make_call as make_call_of

_MANIFEST = """\
name: probe
version: "1.0"
api_version: "1"
supported_extensions: [".txt"]
isolation:
"""
_CODE = """\
import json, os, signal, sys, time
from plugin_sandbox.api import Plugin as Base, PluginError

class Plugin(Base):
    name = "probe"
    version = "1.0"
    supported_extensions = (".txt",)

    def can_handle(self, path, variables):
        return True

    def transform(self, path, ctx):
{body}
"""

MakeCall = Callable[..., Call]


@pytest.fixture
def settings(tmp_path: Path) -> SandboxSettings:
    """Its own state folder, a plain interpreter."""
    return SandboxSettings(state_dir=tmp_path / "state", preload=("json",))


@pytest.fixture
def sandbox(settings: SandboxSettings) -> Iterator[Sandbox]:
    """A sandbox of this host's strict tier."""
    box = Sandbox(settings)
    yield box
    box.close()


@pytest.fixture
def make_call(tmp_path: Path, settings: SandboxSettings) -> MakeCall:
    """Make a call of a plugin whose `transform` has this body, over a workspace with one file."""

    def make(body: str, **isolation: object) -> Call:
        number = len(list(tmp_path.glob("plugin-*")))
        package, workspace = tmp_path / f"plugin-{number}", tmp_path / f"workspace-{number}"
        package.mkdir()
        workspace.mkdir()
        asked = {"timeout_seconds": 60, "memory_mb": 256, "cpu_seconds": 3, **isolation}
        lines = "".join(f"  {name}: {value}\n" for name, value in asked.items())
        (package / "manifest.yml").write_text(_MANIFEST + lines)
        (package / "__init__.py").write_text(_CODE.format(body=textwrap.indent(textwrap.dedent(body), " " * 8)))
        (workspace / "data.txt").write_text("initial\n")
        return make_call_of(package, workspace, settings)

    return make
