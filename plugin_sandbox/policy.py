"""Which changes a manifest and an operator allow. Any violation, and nothing of the run is published."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from plugin_sandbox.changes import MOST_PROBLEMS, Changes


def find_violations(changes: Changes, *, writes: tuple[str, ...], protected: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that may not be changed, and the problems of the view; sorted. The first hundred of either are enough."""
    found: set[str] = set()
    for change in changes.entries:
        asked = any(meets(glob, change.path) or (change.is_folder and leads_to(glob, change.path)) for glob in writes)
        if not asked or is_protected(change.path, protected, is_folder=change.is_folder):
            found.add(change.path)
        if len(found) == MOST_PROBLEMS:
            break
    return (*sorted(found), *sorted(changes.problems))


def is_protected(path: str, protected: tuple[str, ...], *, is_folder: bool = False) -> bool:
    """Say whether a path is protected, in any spelling that some file system takes for the same, or would stand in a protected one's way.

    `docs/` protects a folder with all that is in it, `README.md` one file.

    >>> [is_protected(path, ("README.md", ".kept/")) for path in ("readme.MD", "sub/README.md", ".kept/x", ".kept")]
    [True, False, True, True]
    """
    folded = _fold(path)
    for one in protected:
        kept = _fold(one.rstrip("/"))
        if folded == kept or (one.endswith("/") and folded.startswith(kept + "/")):
            return True
        if not is_folder and kept.startswith(folded + "/"):
            return True  # a file, or nothing, in the place of a folder above it
    return False


#: What shows and counts for nothing where a file system folds names: joiners, fillers, variation selectors.
_IGNORED: Final = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


@lru_cache(maxsize=4096)
def _fold(path: str) -> str:
    """Return what all spellings share that file systems take for one: case, composed letters, what is ignored, points at a name's end.

    >>> _fold("Sub./R\\u00c9sum\\u00e9\\ufe0f.MD ") == _fold("sub/re\\u0301sume\\u0301.md")
    True
    """
    if not path.isascii():
        path = _IGNORED.sub("", unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold()))
    return "/".join(name.rstrip(". ") or name for name in path.casefold().split("/"))


def find_matching(paths: Iterable[str], globs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that any of the globs meets.

    >>> find_matching(("a.csv", "b/c.csv", "d.txt"), ("**/*.csv",))
    ('a.csv', 'b/c.csv')
    """
    return tuple(path for path in paths if any(meets(glob, path) for glob in globs))


def meets(glob: str, path: str) -> bool:
    """Say whether a glob meets all of a path: `*` and `?` stay within a name, `**` goes over any number of folders.

    A plugin writes both, the glob and the names. So all places that a part of the glob can lead to are followed at once, as bits
    of a number: the work is the product of both lengths at most, where a search that goes back may take for ever.

    >>> meets("out/**", "out/a/b"), meets("*.csv", "a/b.csv")
    (True, False)
    >>> meets("**/*.csv", "b.csv"), meets("**", "a/b"), meets("*a" * 60, "a" * 200 + "b")
    (True, True, False)
    """
    last = (_split(glob) or ("",))[-1]
    return glob == "**" or ((last in _WILD or path.endswith(last)) and _follow(glob, path, is_whole=True))


def leads_to(glob: str, folder: str) -> bool:
    """Say whether a glob may meet something below a folder: then the folder is made, or goes, with it.

    >>> leads_to("out/*.csv", "out"), leads_to("out/*.csv", "other"), leads_to("**/*.csv", "any/where")
    (True, False, True)
    """
    return _follow(glob, folder + "/", is_whole=False)


def _follow(glob: str, path: str, *, is_whole: bool) -> bool:
    masks: dict[str, int] = {}

    def mask(char: str) -> int:
        """Where in the path this character is."""
        if char not in masks:
            masks[char] = int("".join("1" if one == char else "0" for one in reversed(path)) or "0", 2)
        return masks[char]

    end = 1 << len(path)
    every = (1 << len(path) + 1) - 1
    places = 1  # bit n: what is before place n of the path has been met
    for part in _split(glob):
        if part == "**":
            places = every & -(places & -places)
        elif part == "**/":
            inside = places & ~mask("/")
            places |= mask("/") << 1 & -(inside & -inside) if inside else 0
        elif part == "*":  # to the end of each name that a place is in: an addition carries just so far
            names = every >> 1 & ~mask("/")
            places |= ((places & names) + names) ^ names
        elif part == "?":
            places = (places & every >> 1 & ~mask("/")) << 1
        else:
            for char in part:
                places = (places & mask(char)) << 1
                if not is_whole and places & end:
                    return True
        if not places or (not is_whole and places & end):
            return bool(places)
    return bool(places & end)


_WILD: Final = ("**/", "**", "*", "?")


@lru_cache(maxsize=1024)
def _split(glob: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob) if part)
