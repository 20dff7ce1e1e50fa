"""Make a project directory out of a template and the data, and put it in its place when it is ready.

    <projects>/.intake/<session>/     where it is made, and where plugins work on it
    <projects>/<name>/                where it is published, whole, by one rename

Every act may be repeated: making begins anew, and what was published by the same session is found published.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Final

from .files import IntakeError, Limits, copy_files, list_project, list_source
from .request import Request

TEMPLATE: Final = Path(__file__).parent / "template"
TEMPLATE_VERSION: Final = "1"
CARD: Final = "dataset.json"
MANIFEST: Final = "MANIFEST.sha256"
DATA: Final = "data"
_STAGING: Final = ".intake"
_SUFFIX: Final = ".tmpl"


@dataclass(frozen=True)
class Published:
    """A project in its place. `manifest` is the sum over its manifest, and so over all of it."""

    path: str
    files: int
    bytes: int
    manifest: str
    repeated: bool = False


def check_projects(projects: str, source: str, name: str, *, root: str = "") -> list[str]:
    """Return what is wrong with where a project is to go."""
    where = f"projects {projects[:200]}"
    if not projects.startswith("/") or "\0" in projects:
        return [f"{where}: not an absolute path; name the folder that projects are published to"]
    folder = Path(projects).resolve()
    if root and not folder.is_relative_to(Path(root).resolve()):
        return [f"{where}: outside the allowed folder {root}; choose one inside it"]
    if folder.is_relative_to(Path(source).resolve()):
        return [f"{where}: lies in the data itself; choose a folder beside it"]
    there = folder if folder.exists() else folder.parent
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return [f"{where}: not a folder that the workers can write; make it, or choose another"]
    if name and (folder / name).exists():
        return [f"name {name!r}: {folder / name} is there already; choose another name, or move it away"]
    return []


def make_project(request: Request, source: str, projects: str, session: str, limits: Limits, *, root: str = "") -> Path:
    """Copy the data, render the template beside it, return the folder; raise IntakeError."""
    listing = list_source(source, limits, root=root)
    folder = staging_folder(projects, session)
    try:
        _make_staging(folder.parent)
        if folder.exists():  # from a try that was not committed
            shutil.rmtree(folder)
        (folder / DATA).mkdir(parents=True)
        (folder / "metadata").mkdir()
        copy_files(Path(source).resolve(), iter(listing.files), folder / DATA, limits)
        _render(folder, asdict(request))
        card = {
            **{key: value for key, value in asdict(request).items() if key != "units"},
            "session": session,
            "template_version": TEMPLATE_VERSION,
        }
        (folder / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise IntakeError(f"project {folder}: {error.strerror}; make room for it, and submit again") from error
    return folder


def publish_project(projects: str, name: str, session: str) -> Published:
    """Check a project against its manifest and put it in its place; raise IntakeError."""
    folder, target = staging_folder(projects, session), Path(projects).resolve() / name
    if not folder.is_dir() and _session_of(target) == session:
        return _describe(target, repeated=True)
    _verify(folder)
    if target.exists():
        raise IntakeError(f"project {target}: is there already; choose another name, or move it away")
    try:
        folder.rename(target)
    except OSError as error:
        raise IntakeError(f"project {target}: cannot be put there ({error.strerror}); mend the folder") from error
    _remove_if_empty(folder.parent)
    return _describe(target)


def find_obstacle(projects: str, name: str, session: str) -> str:
    """Return why a project cannot be published; "" where nothing stands in its way."""
    target = Path(projects).resolve() / name
    try:
        _verify(staging_folder(projects, session))
    except (IntakeError, OSError) as error:
        return str(error)
    return f"project {target}: is there already; choose another name, or move it away" if target.exists() else ""


def drop_project(projects: str, session: str) -> None:
    """Remove what was made for a session; nothing happens where there is nothing."""
    if not projects.startswith("/"):
        return
    folder = staging_folder(projects, session)
    if folder.is_dir() and not folder.parent.is_symlink():
        shutil.rmtree(folder)
        _remove_if_empty(folder.parent)


def staging_folder(projects: str, session: str) -> Path:
    """Return where a session's project is made."""
    return Path(projects).resolve() / _STAGING / session


def _make_staging(folder: Path) -> None:
    """Make the folder where projects are made: for this user alone, because images there have not been scrubbed."""
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise IntakeError(f"folder {folder}: somebody else made it; remove it, or choose another place for projects")


def _render(folder: Path, values: Mapping[str, object]) -> None:
    """Write the template's files; one that the data brought along is left as it is."""
    for path in sorted(TEMPLATE.rglob(f"*{_SUFFIX}")):
        target = folder / path.relative_to(TEMPLATE).with_suffix("")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(path.read_text("utf-8")).substitute(values), "utf-8")


def _verify(folder: Path) -> None:
    """Raise IntakeError unless the manifest names exactly the files that are there, each with its sum."""
    files = list_project(folder)
    manifest = files.pop(MANIFEST, None)
    if manifest is None:
        raise IntakeError(f"project {folder}: has no {MANIFEST}; let the pass write it")
    told = dict(_read_line(line) for line in manifest.read_text("utf-8").splitlines())
    if missing := sorted(told.keys() ^ files.keys()):
        raise IntakeError(
            f"project {folder}: {MANIFEST} and the files differ in {', '.join(missing[:5])}; run it again"
        )
    for name, path in files.items():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != told[name]:
                raise IntakeError(f"project {folder}: {name} is not what {MANIFEST} says; run it again")


def _read_line(line: str) -> tuple[str, str]:
    digest, _, name = line.partition("  ")
    if digest.startswith("\\"):
        return name.replace("\\n", "\n").replace("\\r", "\r").replace("\\\\", "\\"), digest[1:]
    return name, digest


def _describe(target: Path, *, repeated: bool = False) -> Published:
    files = list_project(target)
    digest = hashlib.sha256((target / MANIFEST).read_bytes()).hexdigest()
    return Published(
        str(target), len(files), sum(path.stat().st_size for path in files.values()), digest, repeated=repeated
    )


def _session_of(target: Path) -> str:
    try:
        card = json.loads((target / CARD).read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return str(card.get("session", "")) if isinstance(card, dict) else ""


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # others are at work there
        return
