"""Make a small plugin that works at once: `baton plugins new`.

The files are those of `scaffold_plugin/`, with the name put in. Nothing that exists is touched.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from orchestrator.contracts.errors import ConfigError, InputError

_TEMPLATES: Final = Path(__file__).resolve().parent / "scaffold_plugin"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def create_plugin(folder: Path, name: str, *, dry_run: bool = False) -> list[Path]:
    """Write a new plugin into `folder`, which must not exist; return the files.

    Raises InputError for a bad name or a folder that exists, ConfigError where nothing can be written. Either everything is
    there afterwards, or nothing; with `dry_run` nothing, and the files are those that would be.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"plugin name {name[:80]!r}: use up to 64 letters, digits and _, a letter first")
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - the folder does not exist, and links stay as they are
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder}: exists already; choose another folder, or remove it")
    templates = sorted(_TEMPLATES.glob("*.tmpl"))
    if dry_run:
        return [folder / template.stem for template in templates]
    draft: Path | None = None
    written = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Made beside it and moved into place, so that a full disk leaves no half of a plugin.
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)
        for template in templates:
            text = template.read_text(encoding="utf-8").replace("@NAME@", name)
            (draft / template.stem).write_text(text, encoding="utf-8")
            written.append(folder / template.stem)
        draft.rename(folder)
    except OSError as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    return written
