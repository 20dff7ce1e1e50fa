"""What a page of the index is asked for, exactly (what it holds: tests/property/test_listing_pages.py)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.property.store_lab import Lab

AT = 1_700_000_000_000


@pytest.fixture
def one(store_url: str) -> Iterator[Lab]:
    """Lend a store of one partition with three sessions that came one after the other, two at the same time."""
    made = Lab(store_url, partitions=1)
    for number, since in enumerate((AT, AT, AT + 1)):
        member = f"a:ready:1:{since}:S-{number}"
        made.run(made.store.command("ZADD", made.store.keys.of_partition("by", 0), 0, member))
    yield made
    made.close()


def page(lab: Lab, *words: str | int) -> list[Any]:
    """Ask as the script gets it: app, bucket, since and sid of the place, least since, most."""
    return lab.run(lab.store.act_on_partition("page", 0, *words))


def sids(reply: list[Any]) -> list[str]:
    """Return whose members a page has."""
    assert reply[0] == "page"
    return [member.split(":")[-1] for member in reply[1]]


@pytest.mark.parametrize("wrong", [{2: "x"}, {4: "x"}, {5: "x"}, {5: ""}, {2: "-1"}, {4: "1.5"}, {5: "-1"}])
@pytest.mark.parametrize("words", [("", "", "", "", "", 9), ("a", "ready", AT, "S-1", AT, 9)])
def test_a_page_for_a_number_that_is_none_is_refused(
    one: Lab, words: tuple[str | int, ...], wrong: dict[int, str]
) -> None:
    """Whatever else is asked for: a page that came of half a question would look whole."""
    assert page(one, *(wrong.get(place, word) for place, word in enumerate(words))) == ["malformed"]


def test_a_page_begins_before_its_place_and_ends_at_its_least_time(one: Lab) -> None:
    """The place itself is not told again; what came at the least time is."""
    assert sids(page(one, "", "", "", "", "", 9)) == ["S-2", "S-1", "S-0"]
    assert sids(page(one, "", "", AT, "S-1", "", 9)) == ["S-0"]
    assert sids(page(one, "", "", AT + 1, "S-2", AT, 9)) == ["S-1", "S-0"]
    assert sids(page(one, "", "", "", "", AT + 1, 9)) == ["S-2"]
    assert sids(page(one, "", "", "", "", AT + 2, 9)) == []


@pytest.mark.parametrize(("most", "found"), [(0, []), (1, ["S-2"]), (2, ["S-2", "S-1"]), (3, ["S-2", "S-1", "S-0"])])
@pytest.mark.parametrize("app", ["", "a"])
@pytest.mark.parametrize("bucket", ["", "ready"])
def test_a_page_has_as_many_as_were_asked_for(one: Lab, app: str, bucket: str, most: int, found: list[str]) -> None:
    """None where none was, and no more: whoever asks counts them to know whether there are others."""
    assert sids(page(one, app, bucket, "", "", "", most)) == found


#: Of one moment, in five groups: a page that is cut off must have those whose ids come last, byte by byte.
TIED = ("B-10", "B-1", "AC-1", "AB-2", "AB-1", "A-2", "A-1")


@pytest.mark.parametrize("most", range(len(TIED) + 1))
@pytest.mark.parametrize("turn", range(len(TIED)))
def test_what_came_at_the_same_moment_is_told_by_its_id(store_url: str, most: int, turn: int) -> None:
    """Whatever group each stands in: the next page begins behind the last one's place, and what it passed is never told."""
    lab = Lab(store_url, partitions=1)
    groups = ("ready:1", "running:-", "waiting:-", "ended/x:-", "dead:-")
    turned = TIED[turn:] + TIED[:turn]
    by = lab.store.keys.of_partition("by", 0)
    members = [f"a:{groups[place % 5]}:{AT}:{session_id}" for place, session_id in enumerate(turned)]
    lab.run(lab.store.command("ZADD", by, *(word for member in members for word in (0, member))))

    assert sids(page(lab, "", "", "", "", "", most)) == list(TIED[:most])
    lab.close()
