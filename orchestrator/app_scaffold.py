"""Make a small app that works at once: `baton apps new`.

The files are those of `scaffold/`, with names put in. The app runs without a model key, by the
`rules` provider, and has one tool that only reads and one that acts. Nothing that exists is touched.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from orchestrator.contracts.errors import ConfigError, InputError
from orchestrator.settings import find_config_dir

_TEMPLATES: Final = Path(__file__).resolve().parent / "scaffold"
_SUFFIX: Final = ".tmpl"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def create_app(folder: Path, name: str, *, dry_run: bool = False) -> list[Path]:
    """Write a new app into `folder`, which must not exist; return the files.

    Raises InputError for a bad name or a folder that exists, ConfigError where nothing can be
    written. Either everything is there afterwards, or nothing; with `dry_run` nothing, and the files are those that would be.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"app name {name[:80]!r}: use up to 64 lower-case letters, digits and _, a letter first")
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - the folder does not exist, and links stay as they are
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder}: exists already; choose another folder, or remove it")
    words = _words(folder, name)
    templates = sorted(_TEMPLATES.rglob(f"*{_SUFFIX}"))
    if dry_run:
        return [folder / template.relative_to(_TEMPLATES).with_suffix("") for template in templates]
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Made beside it and moved into place, so that a full disk leaves no half of an app.
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)
        written = [_write(template, draft, words) for template in templates]
        draft.rename(folder)
    except OSError as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    return [folder / path.relative_to(draft) for path in written]


def make_prefix(name: str) -> str:
    """Return the session id prefix that goes with an app's name.

    >>> make_prefix("stock_keeping"), make_prefix("a_very_long_name_of_an_app")
    ('STOCK-KEEPING', 'A-VERY-LONG-NAME')
    """
    return re.sub(r"-+", "-", name.upper().replace("_", "-"))[:16].strip("-")


def _words(folder: Path, name: str) -> dict[str, str]:
    schemas = find_config_dir({}) / "schemas"
    # Relative where the app lies beside the schemas, as in a checkout: such a path survives a clone.
    is_near = folder.is_relative_to(schemas.parent.parent)
    app = os.path.relpath(schemas / "app.schema.json", folder) if is_near else str(schemas / "app.schema.json")
    skill_folder = folder / "skills" / "x"
    skill = (
        os.path.relpath(schemas / "skill.schema.json", skill_folder) if is_near else str(schemas / "skill.schema.json")
    )
    return {
        "@NAME@": name,
        "@PREFIX@": make_prefix(name),
        "@VARIABLE@": name.upper(),
        "@PARENT@": str(folder.parent),
        "@SCHEMA@": app,
        "@SKILL_SCHEMA@": skill,
    }


def _write(template: Path, draft: Path, words: dict[str, str]) -> Path:
    path = draft / template.relative_to(_TEMPLATES).with_suffix("")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = template.read_text(encoding="utf-8")
    for mark, word in words.items():
        text = text.replace(mark, word)
    path.write_text(text, encoding="utf-8")
    return path
