"""Which changes a manifest and an operator allow. Any violation, and nothing of the run is published."""

import re
from collections.abc import Iterable
from functools import lru_cache

from plugin_sandbox.changes import Changes


def find_violations(changes: Changes, *, writes: tuple[str, ...], protected: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that may not be changed, and the problems of the view; sorted."""
    found = {
        change.path
        for change in changes.entries
        if is_protected(change.path, protected, is_folder=change.is_folder)
        or not (change.is_folder or any(_matcher(glob).fullmatch(change.path) for glob in writes))
    }
    return (*sorted(found), *sorted(changes.problems))


def is_protected(path: str, protected: tuple[str, ...], *, is_folder: bool = False) -> bool:
    """Say whether a path is protected, in any case of letters, or would stand in a protected one's way.

    `docs/` protects a folder with all that is in it, `README.md` one file.

    >>> [is_protected(path, ("README.md", ".kept/")) for path in ("readme.MD", "sub/README.md", ".kept/x", ".kept")]
    [True, False, True, True]
    """
    folded = path.casefold()
    for one in protected:
        kept = one.rstrip("/").casefold()
        if folded == kept or (one.endswith("/") and folded.startswith(kept + "/")):
            return True
        if not is_folder and kept.startswith(folded + "/"):
            return True  # a file, or nothing, in the place of a folder above it
    return False


def find_matching(paths: Iterable[str], globs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that any of the globs meets.

    >>> find_matching(("a.csv", "b/c.csv", "d.txt"), ("**/*.csv",))
    ('a.csv', 'b/c.csv')
    """
    matchers = [_matcher(glob) for glob in globs]
    return tuple(path for path in paths if any(one.fullmatch(path) for one in matchers))


@lru_cache(maxsize=1024)
def _matcher(glob: str) -> re.Pattern[str]:
    """Compile a glob: `*` and `?` stay within a name, `**` goes over any number of folders.

    >>> bool(_matcher("out/**").fullmatch("out/a/b")), bool(_matcher("*.csv").fullmatch("a/b.csv"))
    (True, False)
    >>> bool(_matcher("**/*.csv").fullmatch("b.csv")), bool(_matcher("**").fullmatch("a/b"))
    (True, True)
    """
    parts = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
