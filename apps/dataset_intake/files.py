"""Which files of a folder are taken in, and how they are copied: regular ones by plain names, within limits, links never.

Nothing is changed in the folder that is read.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_MOST_TOLD: Final = 20
_MOST_DEPTH: Final = 32


class IntakeError(Exception):
    """A folder that is not usable; the message is `where: what; what to do`."""


@dataclass(frozen=True)
class Limits:
    """The most that one data set may be."""

    files: int = 2_000
    bytes: int = 1_073_741_824


@dataclass
class Listing:
    """The files of a folder, by path below it with their sizes, and those that are left out: path and why."""

    files: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    left_out_count: int = 0

    @property
    def byte_count(self) -> int:
        """How large all of it is."""
        return sum(self.files.values())

    def leave_out(self, path: str, reason: str) -> None:
        """Count a file that is not taken in, and remember the first few."""
        self.left_out_count += 1
        if len(self.left_out) < _MOST_TOLD:
            self.left_out.append(f"{path.encode('utf-8', 'backslashreplace').decode()[:200]}: {reason}")


def list_source(source: str, limits: Limits, *, root: str = "") -> Listing:
    """Return what a folder holds; raise IntakeError where it is none, outside `root`, empty, or too large."""
    where = f"source {source[:200]}"
    if not source.startswith("/") or "\0" in source:
        raise IntakeError(f"{where}: not an absolute path; name a folder of the machine that the workers run on")
    folder = Path(source).resolve()
    if root and not folder.is_relative_to(Path(root).resolve()):
        raise IntakeError(f"{where}: outside the allowed folder {root}; choose one inside it")
    if not folder.is_dir():
        raise IntakeError(f"{where}: no such folder; name one that the workers can read")
    listing = Listing()
    try:
        for entry, path in _walk(folder, listing):
            listing.files[path] = entry.stat(follow_symlinks=False).st_size
            if len(listing.files) > limits.files:
                raise IntakeError(f"{where}: more than {limits.files} files; take it in in parts")
            if listing.byte_count > limits.bytes:
                raise IntakeError(f"{where}: more than {limits.bytes} bytes; take it in in parts")
    except OSError as error:
        raise IntakeError(f"{where}: {error.filename}: {error.strerror}; make it readable") from error
    if not listing.files:
        raise IntakeError(f"{where}: no file in it; put the data there")
    return listing


def copy_files(source: Path, paths: Iterator[str], target: Path, limits: Limits) -> None:
    """Copy files to the same places below `target`; raise IntakeError for one that is gone, or has become something else."""
    left = limits.bytes
    for path in paths:
        try:
            opened = os.open(source / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(opened, "rb") as file:
                left -= os.fstat(opened).st_size
                if left < 0:
                    raise IntakeError(f"source {source}: it grows while it is read; wait until it is complete")
                place = target / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as copy:
                    shutil.copyfileobj(file, copy, 1_048_576)
        except OSError as error:
            raise IntakeError(f"source {source}: {path}: {error.strerror}; make it a readable file") from error


def list_project(folder: Path) -> dict[str, Path]:
    """Return every file of a project by its path; raise IntakeError for anything that is neither file nor folder."""
    found: dict[str, Path] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise IntakeError(f"project {folder}: {name}: neither file nor folder; look who put it there")
        if path.is_file():
            found[name] = path
    return found


def _walk(folder: Path, listing: Listing) -> Iterator[tuple["os.DirEntry[str]", str]]:
    left: list[tuple[str, int]] = [("", 0)]
    while left:
        here, depth = left.pop()
        with os.scandir(folder / here) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path = f"{here}{entry.name}"
                if entry.name.startswith("."):
                    listing.leave_out(path, "hidden")
                elif not entry.name.isprintable():  # also where it is no UTF-8
                    listing.leave_out(path, "its name cannot be written down")
                elif entry.is_symlink():
                    listing.leave_out(path, "a link")
                elif entry.is_dir() and depth < _MOST_DEPTH:
                    left.append((f"{path}/", depth + 1))
                elif entry.is_file():
                    yield entry, path
                else:
                    listing.leave_out(path, "too deep" if entry.is_dir() else "no regular file")
