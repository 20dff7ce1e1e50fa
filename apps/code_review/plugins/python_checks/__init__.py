"""Looks at the syntax tree of each exported file, and writes what it finds on changed lines.

Which lines changed and what is a test stands in index.json, which was written with the files (workspace.py) and cannot be changed here.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext

from .checks import Unparseable, find_in_python

INDEX = "index.json"
TARGET = "findings/python_checks.json"


class Plugin(Base):
    """One file after the other; what cannot be parsed is told."""

    def __init__(self) -> None:
        self._index: dict[str, dict[str, Any]] = {}
        self._found: dict[str, dict[str, Any]] = {}

    def pre_transform_all(self, ctx: PluginContext) -> None:
        """Read which lines of which file changed."""
        self._index = json.loads((ctx.dst_root / INDEX).read_text("utf-8"))["files"]

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take every file: only Python was exported."""
        del path, variables
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Check one file."""
        name = path.relative_to(ctx.dst_root).as_posix()
        about = self._index[name]
        changed = None if about["changed"] is None else frozenset(about["changed"])
        try:
            remarks = find_in_python(path.read_bytes().decode("utf-8", "replace"), changed, is_test=about["is_test"])
        except Unparseable as error:
            self._found[name] = {"remarks": [], "reason": error.reason, "line": error.line}
        else:
            self._found[name] = {"remarks": [asdict(remark) for remark in remarks]}

    def post_transform_all(self, ctx: PluginContext) -> None:
        """Write what was found, by file."""
        (ctx.dst_root / TARGET).write_text(json.dumps(self._found), "utf-8")
        ctx.log.info(
            "checked", files=len(self._found), remarks=sum(len(one["remarks"]) for one in self._found.values())
        )
