"""Writes MANIFEST.sha256: a line for each file of the project, sorted, as `sha256sum --check` reads it."""

import hashlib
from pathlib import Path
from typing import Any

from plugin_sandbox.api import FileChange, PluginContext
from plugin_sandbox.api import Plugin as Base

MANIFEST = "MANIFEST.sha256"


class Plugin(Base):
    """Adds up every file that it is handed, and writes them all at the end."""

    def __init__(self) -> None:
        self._sums: dict[str, str] = {}

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take everything."""
        del path, variables
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Remember a file's sum; an older manifest is no part of the new one."""
        if path == ctx.dst_root / MANIFEST:
            return
        with path.open("rb") as file:
            self._sums[path.relative_to(ctx.dst_root).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()

    def post_transform_all(self, ctx: PluginContext) -> None:
        """Write the manifest."""
        if ctx.dry_run:
            return
        lines = "".join(format_line(name, self._sums[name]) for name in sorted(self._sums))
        (ctx.dst_root / MANIFEST).write_text(lines, "utf-8", "surrogateescape")
        ctx.log.info("summed", files=len(self._sums), manifest=MANIFEST)

    def describe_changes(self, path: Path, ctx: PluginContext) -> list[FileChange]:
        """Say which file would be told of."""
        return [FileChange(ctx.dst_root / MANIFEST, "modify", f"the sum of {path.name}")]


def format_line(name: str, digest: str) -> str:
    r"""Return a manifest's line; a name that would break it is escaped, and the line says so by a backslash.

    >>> format_line("a.csv", "00ff"), format_line("a\nb", "00ff")
    ('00ff  a.csv\n', '\\00ff  a\\nb\n')
    """
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"
