"""Layouts, charts and fingerprints: pure, so that any input can be tried."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.session import Cursor, Record
from orchestrator.interfaces.console.charts import latency_chart, line_chart
from orchestrator.interfaces.console.dead import Letter, pile_up
from orchestrator.interfaces.console.graph import draw_app
from orchestrator.interfaces.console.layout import lay_out
from orchestrator.interfaces.console.shown import _UNSEEN, load_static, number, visible
from tests.console_stage import Document

NODES = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(NODES, NODES), max_size=20, unique=True))
def test_a_layout_has_a_place_for_everything(edges: list[tuple[str, str]]) -> None:
    """Circles included: every edge leads to a later column, or is known to lead back, and no two nodes meet."""
    laid = lay_out(["a"], edges)

    assert set(laid.places) == {"a", *(node for edge in edges for node in edge)}
    assert len(set(laid.places.values())) == len(laid.places)
    assert set(laid.ways) | laid.back == set(edges)
    for way in laid.ways.values():
        assert all(after[0] == before[0] + 1 for before, after in pairwise(way))


def make_spec(routes: dict[str, list[tuple[str, str]]]) -> AppSpec:
    """Return an app of plain steps with these routes."""
    skills = {
        name: {"kind": "timer", "name": name, "seconds": 1, "routes": [{"when": w, "next": n} for w, n in every]}
        for name, every in routes.items()
    }
    return AppSpec.model_validate({"name": "drawn", "entry_skill": next(iter(routes)), "skills": skills})


def test_rules_that_go_in_circles_and_nowhere_are_drawn() -> None:
    """Skills that lead back, to themselves, or are never reached, are part of the rules."""
    spec = make_spec(
        {"one": [("again", "one"), ("on", "two")], "two": [("back", "one"), ("over", "__end__")], "lone": []}
    )

    page = Document(str(draw_app(spec)))

    names = [attributes["class"] for tag, attributes in page.elements if tag == "g"]
    assert len(names) == 4
    assert all(word in page.text for word in ("one", "two", "lone", "again", "back", "over", "end"))


def test_long_chains_are_drawn_from_top_to_bottom() -> None:
    """A drawing of ten columns would be unreadable at the width of a page."""
    chain = {f"s{n}": [("on", f"s{n + 1}" if n < 9 else "__end__")] for n in range(10)}

    svg = Document(str(draw_app(make_spec(chain)))).elements[0][1]

    assert float(svg["height"]) > float(svg["width"])


def test_charts_need_two_moments_and_take_zeros() -> None:
    """A process that has just started has nothing to draw, and a quiet store draws a line at nought."""
    flat = line_chart("t", [("a", [(1, 0.0), (2, 0.0)])], number)

    assert line_chart("t", [("a", [(1, 5.0)])], number) == ""
    assert line_chart("t", [], number) == ""
    assert latency_chart("t", [], number) == ""
    assert "NaN" not in flat and "inf" not in flat
    assert "nan" not in latency_chart("t", [("k", 0.0, 0.0, 0.0), ("l", 1.0, 120_000.0, 120_000.0)], number)


def dead(session_id: str, detail: str, **more: str) -> Letter:
    """Return a dead letter."""
    record = Record(session_id=session_id, app=more.get("app", "a"), spec="x", phase="dead", cursor=Cursor(skill="s"))
    return Letter(record, {"reason": "attempts", "error": more.get("error", "ToolError"), "detail": detail, "at": 1})


def test_letters_of_one_cause_stand_together() -> None:
    """Ids, numbers and quoted names differ from letter to letter; the app, the error and the words do not."""
    letters = [
        dead("SES-20261121-001", "session SES-20261121-001: 'x' took 31 s"),
        dead("SES-20261121-002", "session SES-20261121-002: 'why' took 7.5 s\nand more"),
        dead("SES-20261121-003", "session SES-20261121-003: 'x' took 31 s", app="b"),
        dead("SES-20261121-004", "session SES-20261121-004: 'x' took 31 s", error="ToolTimeout"),
        dead("SES-20261121-005", "another thing"),
    ]

    piles = pile_up(letters)

    assert [len(pile.letters) for pile in piles] == [2, 1, 1, 1]
    assert piles[0].about == "session ID: '…' took N s"


#: Characters that are drawn as nothing (Unicode's Default_Ignorable_Code_Point), and two that are left: they choose an emoji's face.
IGNORED = (
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0),
    *(*range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
    *(*range(0xFE00, 0xFE0E), *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B)),
    *range(0xE0000, 0xE1000),
)


def test_what_is_drawn_as_nothing_is_written_out_by_pages_and_by_their_script() -> None:
    """Whole sentences can stand in an argument, in signs that nobody sees who approves it."""
    shown = {code: visible(f"a{chr(code)}b") for code in IGNORED}
    script = load_static()["console.js"][0].decode()
    found = re.search(r"const unseen = /\[(.*?)\]/gu;", script)
    assert found is not None
    written = re.sub(r"\\u\{?([0-9a-f]+)\}?", lambda one: chr(int(one[1], 16)), found[1])

    assert all(text.startswith("a\\") and text.isprintable() for text in shown.values())
    assert visible("❤\ufe0f ok") == "❤\ufe0f ok"
    assert written == _UNSEEN.pattern[1:-1].removesuffix("\ud800-\udfff")
