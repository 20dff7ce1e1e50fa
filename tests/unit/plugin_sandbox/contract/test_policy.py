"""Which paths a plugin may change: globs, and what is protected whatever it is granted."""

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugin_sandbox.changes import MOST_PROBLEMS, Change, Changes
from plugin_sandbox.policy import find_matching, find_violations, is_protected, meets

KEPT = ("docs/", "sub/README.md")


@pytest.mark.parametrize(
    ("path", "is_folder", "protected"),
    [
        ("docs", True, True),
        ("docs", False, True),
        ("DOCS/a/b", False, True),
        ("docs2", False, False),
        ("sub/readme.md", False, True),
        ("sub/README.md/x", False, False),
        ("sub/README.md2", False, False),
        ("sub", False, True),
        ("sub", True, False),
        ("su", False, False),
        ("other/docs/a", False, False),
        ("sub/README\ufe0f.md", False, True),
        ("sub/README.md.", False, True),
        ("sub /README.md", False, True),
        ("sub/README.md.x", False, False),
        ("...", False, False),
    ],
)
def test_what_is_protected_and_what_would_stand_in_its_way(path: str, *, is_folder: bool, protected: bool) -> None:
    """A file in the place of the folder above it would remove it as well."""
    assert is_protected(path, KEPT, is_folder=is_folder) is protected


@pytest.mark.parametrize(
    ("glob", "met"),
    [
        ("*", ["a", "b.c"]),
        ("**", ["a", "b.c", "d/e", "d/f/g.c"]),
        ("**/*.c", ["b.c", "d/f/g.c"]),
        ("d/**", ["d/e", "d/f/g.c"]),
        ("d/?", ["d/e"]),
        ("b?c", ["b.c"]),
        ("b.c", ["b.c"]),
        ("d/**/g.c", ["d/f/g.c"]),
    ],
)
def test_a_glob_meets_whole_paths(glob: str, met: list[str]) -> None:
    """A point is a point, and a star ends at a folder."""
    assert list(find_matching(["a", "b.c", "d/e", "d/f/g.c"], (glob,))) == met


def test_any_of_several_globs_is_enough_and_none_meets_nothing() -> None:
    """Each path is there once, in its order."""
    assert find_matching(["a", "b"], ("b", "a", "*")) == ("a", "b")
    assert find_matching(["a", "b"], ()) == ()


def test_letters_that_are_composed_otherwise_are_the_same() -> None:
    """Some file systems take them for one name, and would hand the protected file over."""
    assert is_protected("re\u0301sume\u0301.md", ("R\u00e9sum\u00c9.md",))


_PARTS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_GLOBS = st.lists(st.sampled_from(["*", "**", "**/", "?", "a", "b", "/"]), max_size=6).map("".join)
_NAMES = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@given(_GLOBS, _NAMES)
@example("**/*b", "a/b")
@example("a**", "a")
def test_a_glob_meets_what_a_pattern_of_the_same_meaning_meets(glob: str, path: str) -> None:
    """The parts as an expression, which goes back where it went wrong: right, and slow."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    pattern = "".join(_PARTS.get(piece, re.escape(piece)) for piece in pieces)

    assert meets(glob, path) is (re.fullmatch(pattern, path) is not None)


@pytest.mark.parametrize("part", ["*a", "**a", "**/*a", "?*"])
def test_no_glob_takes_for_ever(part: str) -> None:
    """A plugin writes its globs, and the names: with an expression the worker would stand still, all of it, until it is killed."""
    assert not meets(part * 30 + "*b*", "/".join(["a" * 200] * 5))


def test_a_hundred_violations_are_enough() -> None:
    """Each is a path of a plugin's making, and all of them go into an entry."""
    made = Changes([Change(f"{number}", "create") for number in range(500)])

    assert len(find_violations(made, writes=("kept/**",), protected=())) == MOST_PROBLEMS


def test_a_glob_has_no_meaning_beyond_its_signs() -> None:
    """What stands for something in an expression stands for itself in a name."""
    signs = string.punctuation.translate(str.maketrans("", "", "*?/\\"))

    assert meets(signs, signs)
    assert not meets(".", "a")


@pytest.mark.parametrize(
    ("writes", "folder", "may"),
    [
        (("out/*.csv",), "out", True),
        (("out/**",), "out", True),
        (("out/**",), "out/a/b", True),
        (("a/*/c/d.txt",), "a/b/c", True),
        (("a?/x",), "ab", True),
        (("out/*.csv",), "out/deep", False),
        (("out/*.csv",), "other", False),
        (("out/*.csv",), "ou", False),
        (("out",), "out", True),
        ((), "out", False),
    ],
)
def test_a_folder_is_made_or_goes_for_what_may_be_written_in_it(
    writes: tuple[str, ...], folder: str, *, may: bool
) -> None:
    """One that no glob leads to is a change that the manifest does not ask for."""
    made = Changes([Change(folder, "create", is_folder=True)])

    assert (find_violations(made, writes=writes, protected=()) == ()) is may
