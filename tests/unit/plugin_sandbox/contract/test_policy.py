"""Which paths a plugin may change: globs, and what is protected whatever it is granted."""

import pytest

from plugin_sandbox.policy import find_matching, is_protected

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
