"""Which files of a folder are meant: globs over regular files, looked at without following any link, and counted."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.contracts.errors import AppCodeFailed
from plugin_sandbox.policy import find_matching

#: Files below one workspace that a pass looks at, and how deep.
MOST_FILES = 20_000
MOST_DEPTH = 64


def list_files(folder: Path) -> Iterator[str]:
    """Yield the regular files below a folder, relative and posix; raise AppCodeFailed past the limits."""
    left: list[tuple[str, int]] = [("", 0)]
    count = 0
    while left:
        here, depth = left.pop()
        with os.scandir(folder / here) as entries:
            for entry in entries:
                path = f"{here}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if depth >= MOST_DEPTH:
                        raise AppCodeFailed(f"{folder}/{path}: more than {MOST_DEPTH} folders deep; give a smaller one")
                    left.append((f"{path}/", depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    count += 1
                    if count > MOST_FILES:
                        raise AppCodeFailed(f"{folder}: more than {MOST_FILES} files; give a smaller folder")
                    yield path


def match_files(folder: Path, globs: Sequence[str]) -> tuple[str, ...]:
    """Return the files that any of the globs meets, sorted."""
    return tuple(sorted(find_matching(list_files(folder), tuple(globs))))
