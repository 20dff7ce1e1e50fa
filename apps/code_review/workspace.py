"""The folder that one review's Python files are exported to for the plugins, and what the plugins leave in it.

    <scratch>/<session>/files/0001/module.py     a changed file, under a name that says nothing
                        index.json               what each is: path, changed lines, whether it is a test
                        partial.json             what was found without plugins
                        findings/<plugin>.json   what each plugin found

No effect on the repository. Plugins may write their own findings and nothing else: their manifests say so, the sandbox sees to it.
"""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from .analysis.ruff import Remark

INDEX: Final = "index.json"
PARTIAL: Final = "partial.json"
_FINDINGS: Final = "findings"
_MOST_BYTES: Final = 32 * 2**20


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Exported(_Shape):
    """One exported file."""

    path: str
    changed: list[int] | None
    is_test: bool


class Index(_Shape):
    """All exported files, by where they lie."""

    files: dict[str, Exported]


class Checked(_Shape):
    """What `python_checks` says of one file; `reason` and `line` where it cannot be parsed."""

    remarks: list[dict[str, str | int]]
    reason: str = ""
    line: int = 1


class _CheckedFiles(BaseModel):
    files: dict[str, Checked]


class _LintedFiles(BaseModel):
    files: dict[str, list[Remark]]


class WorkspaceError(Exception):
    """The folder is not usable, or not what it should be; the message is `where: what; what to do`."""


def workspace_folder(scratch: str, session: str) -> Path:
    """Return a session's folder, below a scratch folder that is ours alone; raise WorkspaceError."""
    folder = Path(scratch) if scratch else Path(tempfile.gettempdir()) / f"baton-review-{os.geteuid()}"
    if not folder.is_absolute() or not session or "/" in session or session.startswith("."):
        raise WorkspaceError(f"scratch folder {str(folder)[:200]}: not an absolute path; give one")
    try:
        if not scratch:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise WorkspaceError(f"scratch folder {folder}: {error.strerror}; make it, for this user alone") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise WorkspaceError(f"scratch folder {folder}: others can write there; take another, for this user alone")
    return folder.resolve() / session


def begin(folder: Path) -> None:
    """Make the folder empty: what is there is from a try that was not committed."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        (folder / _FINDINGS).mkdir(parents=True)
        (folder / "files").mkdir()
    except OSError as error:
        raise WorkspaceError(f"workspace {folder}: {error.strerror}; make room for it") from error


def add_file(folder: Path, number: int, path: str, content: bytes) -> str:
    """Write one file; return where it lies."""
    name = f"files/{number:04d}/{_neutral_name(path)}"
    (folder / name).parent.mkdir()
    (folder / name).write_bytes(content)
    return name


def write_index(folder: Path, files: Mapping[str, Exported], partial: str) -> None:
    """Write what is known of the files, and what was found without plugins."""
    (folder / INDEX).write_text(Index(files=dict(files)).model_dump_json(), "utf-8")
    (folder / PARTIAL).write_text(partial, "utf-8")


def read_index(folder: Path) -> tuple[Index, str]:
    """Return both again; raise WorkspaceError."""
    try:
        return Index.model_validate_json((folder / INDEX).read_bytes()), (folder / PARTIAL).read_text("utf-8")
    except (OSError, ValidationError) as error:
        raise WorkspaceError(f"workspace {folder}: cannot be read; is it on another machine? submit again") from error


def read_checked(folder: Path) -> dict[str, Checked]:
    """Return what `python_checks` says, by file; raise WorkspaceError for anything but its form."""
    return _CheckedFiles.model_validate(_read(folder, "python_checks")).files


def read_linted(folder: Path) -> dict[str, list[Remark]]:
    """Return what `ruff` says, by file; raise WorkspaceError for anything but its form."""
    return _LintedFiles.model_validate(_read(folder, "ruff")).files


def remove(folder: Path) -> None:
    """Remove the folder; nothing happens where it is gone."""
    if folder.is_dir():
        shutil.rmtree(folder)


def _read(folder: Path, plugin: str) -> dict[str, object]:
    path = folder / _FINDINGS / f"{plugin}.json"
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        return {"files": json.loads(data)}
    except FileNotFoundError:
        return {"files": {}}
    except (OSError, ValueError, RecursionError) as error:
        raise WorkspaceError(f"{plugin}: its findings cannot be read; see the journal") from error


def _neutral_name(path: str) -> str:
    """Keep of a path what changes a rule's meaning: the suffix, and being a package's face."""
    name = path.rpartition("/")[2]
    if name in ("__init__.py", "__init__.pyi"):
        return name
    return "module.pyi" if name.endswith(".pyi") else "module.py"
