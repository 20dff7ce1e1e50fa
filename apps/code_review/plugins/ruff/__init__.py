"""Runs the real ruff over every exported file at once, and writes what it says, as it says it.

`--isolated`: no configuration, cache or plugin of the reviewed repository takes part. Files lie under neutral names (workspace.py),
so that a name is no option and exempts from nothing. What of it is a finding is decided outside (analysis/ruff.py).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin as Base
from plugin_sandbox.api import PluginContext, PluginError

TARGET = "findings/ruff.json"
_PROGRAM = "ruff"  # found on PATH, where the sandbox puts what is granted
_SELECT = "E9,F,B,PLE,W605,ASYNC"
#: E722 and B006 are ours (python_checks); B008, B904, B905, B028 are matters of taste here.
_IGNORE = "E722,B006,B008,B028,B904,B905,ASYNC109"
_SECONDS = 50
_MOST_BYTES = 16 * 2**20


class Plugin(Base):
    """One run of the program over all files."""

    def __init__(self) -> None:
        self._files: list[str] = []

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take every file: only Python was exported."""
        del path, variables
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Put a file in line."""
        self._files.append(path.relative_to(ctx.dst_root).as_posix())

    def post_transform_all(self, ctx: PluginContext) -> None:
        """Run the program, and write its remarks by file."""
        if not self._files:
            return
        remarks: dict[str, list[dict[str, Any]]] = {}
        for one in _run(self._files, ctx.dst_root):
            name = Path(one["filename"]).relative_to(ctx.dst_root).as_posix()
            remarks.setdefault(name, []).append(
                {"code": one["code"], "message": one["message"], "row": one["location"]["row"]}
            )
        (ctx.dst_root / TARGET).write_text(json.dumps(remarks), "utf-8")
        ctx.log.info("linted", files=len(self._files), remarks=sum(map(len, remarks.values())))


def _run(files: list[str], folder: Path) -> list[dict[str, Any]]:
    options = ("check", "--isolated", "--no-cache", "--exit-zero", "--quiet", "--output-format", "json")
    rules = ("--target-version", "py314", "--select", _SELECT, "--ignore", _IGNORE, "--")
    try:
        done = subprocess.run(  # noqa: S603 - the granted program, our options, neutral names
            [_PROGRAM, *options, *rules, *files],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "RAYON_NUM_THREADS": "2"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PluginError(f"ruff: did not run: {error}") from error
    if len(done.stdout) > _MOST_BYTES:
        raise PluginError(f"ruff: more than {_MOST_BYTES} bytes of findings")
    try:
        found = json.loads(done.stdout or b"[]")
    except ValueError as error:
        reason = done.stderr.decode("utf-8", "replace").strip()[:200] or "its answer was not understood"
        raise PluginError(f"ruff: exit {done.returncode}: {reason}") from error
    return [one for one in found if isinstance(one, dict)]
