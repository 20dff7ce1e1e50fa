"""Each guarantee names its tests, and each of these tests is there: a promise without a proof is only a wish."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "guarantees.md"
SECTIONS = re.split(r"^## (?=\d+\. )", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
PARTS = ("**Promised.**", "**Kept by**", "**Not promised.**", "**Tests.**")
#: One or several names, then the file that holds them.
LINE = re.compile(r"(?P<names>(?:`test_\w+`(?:, )?)+)[^`]*?in \[[^\]]+\]\((?P<path>[^)]+)\)")


def test_all_twelve_are_there_in_order() -> None:
    """A number is how the rest of the documentation speaks of a guarantee."""
    assert [int(section.split(".", 1)[0]) for section in SECTIONS] == list(range(1, 13))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_a_guarantee_says_what_it_is_how_it_is_kept_and_what_it_is_not(section: str) -> None:
    """The third is the one that a reader needs most."""
    places = [section.find(part) for part in PARTS]

    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_a_guarantee_names_tests_that_exist(section: str) -> None:
    """A test that was renamed or removed takes its guarantee with it, and somebody must notice."""
    told = section[section.index("**Tests.**") :]
    named = [
        (name, (PAGE.parent / found["path"]).resolve())
        for found in LINE.finditer(told)
        for name in re.findall(r"`(test_\w+)`", found["names"])
    ]

    missing = [name for name, path in named if f"def {name}(" not in path.read_text(encoding="utf-8")]

    assert named
    assert len(named) == len(re.findall(r"`test_\w+`", told))
    assert missing == []
