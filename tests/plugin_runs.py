"""A plugin of a few lines, and a call of it: what tests of the sandbox share. Programs that run as another user bring their own."""

import textwrap
from pathlib import Path
from typing import Any

from plugin_sandbox.manifest import digest_of, read_manifest
from plugin_sandbox.model import Call, PluginRecord
from plugin_sandbox.settings import SandboxSettings

_MANIFEST = """\
name: probe
version: "1"
api_version: "1"
supported_extensions: []
isolation: {isolation}
"""
_CODE = """\
import json, os, socket, sys, time
from plugin_sandbox.api import Plugin as Base

class Plugin(Base):
    def can_handle(self, path, variables):
        return True

    def transform(self, path, ctx):
{body}
"""


def write_plugin(package: Path, body: str, isolation: str = "{}") -> None:
    """Make a plugin whose `transform` has this body."""
    package.mkdir()
    (package / "manifest.yml").write_text(_MANIFEST.format(isolation=isolation))
    (package / "__init__.py").write_text(_CODE.format(body=textwrap.indent(body, " " * 8)))


def make_call(package: Path, workspace: Path, settings: SandboxSettings, **more: Any) -> Call:
    """Return a call of a plugin over the workspace's one file, `data.txt`."""
    record = PluginRecord(manifest=read_manifest(package, settings), path=package, digest=digest_of(package))
    return Call.model_validate({"plugin": record, "workspace": workspace, "files": ("data.txt",), **more})
