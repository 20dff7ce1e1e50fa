"""The limits of a safe expression: what stands at one is accepted, what is one over it is refused, and said where."""

import pytest

from orchestrator.kernel.expression_compiler import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES
from orchestrator.kernel.expression_functions import MAX_DIGITS, MAX_EXPONENT, MAX_INTEGER, MAX_ITEMS
from orchestrator.kernel.expressions import ExpressionError, compile_expression


def compute(text: str, **names: object) -> object:
    """Return what an expression comes to."""
    return compile_expression(text).evaluate(names)  # type: ignore[arg-type]


def refusal(text: str) -> ExpressionError:
    """Return why an expression is refused, before or while it is computed."""
    with pytest.raises(ExpressionError) as caught:
        compute(text)
    return caught.value


@pytest.mark.parametrize(
    "around",
    [
        *("not @", "-@", "(@ + 1)", "(1 + @)", "(@ and 1)", "(1 or @)", "(@ < 1)", "(1 < @)", "(0 < 1 < @)"),
        *("(@ if 1 else 1)", "(1 if @ else 1)", "(1 if 1 else @)", "@[0]", "xs[@]", "xs[@:]", "xs[:@]"),
        *("[@]", "(@,)", "{'k': @}", "{@: 1}", "abs(@)", "max(1, @)"),
    ],
)
def test_every_construct_may_be_nested_forty_deep(around: str) -> None:
    """The same number for each, so that an author can know it; one deeper is refused."""
    text = "x"
    for _ in range(MAX_DEPTH):
        text = around.replace("@", text)
    assert compile_expression(text)

    assert refusal(around.replace("@", text)).what == "it is nested over 40 deep"


def test_what_is_as_large_as_it_may_be_is_compiled() -> None:
    """And one more is refused as a whole: no part of it is the one too many."""
    long, many = "1".rjust(MAX_CHARACTERS), f"[{'1,' * (MAX_NODES - 1)}]"

    assert (compute(long), compute(many)) == (1, [1] * (MAX_NODES - 1))
    assert (refusal(f" {long}").what, refusal(f" {long}").position) == (
        "it has 2001 characters, over the limit of 2000",
        0,
    )
    assert (refusal(f"{many}[0]").what, refusal(f"{many}[0]").position) == (
        "it has 202 parts, over the limit of 200",
        0,
    )


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1;2", 1),
        ("  1;2", 3),
        ("  (1 +\n  2;3)", 10),
        ("'\ud800'", 0),
        ("1 +\x00", 0),
        ("x.y", 0),
        (" x.y", 1),
        ("[1,\n x.y]", 5),
        ("[1,\n 'äö', x.y]", 11),
        ("1 == x.y", 5),
        ("äö(1)", 0),
        ("{'ä': x.y}", 6),
    ],
)
def test_a_refusal_says_where(text: str, position: int) -> None:
    """The loader maps it to the line of the file, counted in characters as people count."""
    assert refusal(text).position == position


@pytest.mark.parametrize(("length", "shown"), [(80, "x" * 80), (81, "x" * 77 + "...")])
def test_a_long_expression_is_quoted_by_its_beginning(length: int, shown: str) -> None:
    """A message is one line."""
    error = ExpressionError("bad", text="x" * length)

    assert str(error) == f"expression {shown!r}, column 1: bad"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"{MAX_INTEGER}", MAX_INTEGER),
        (f"-{MAX_INTEGER}", -MAX_INTEGER),
        (f"1 ** {MAX_EXPONENT}", 1),
        (f"1 ** -{MAX_EXPONENT}", 1.0),
        (f"round(1.5, {MAX_DIGITS})", 1.5),
        (f"round(10, -{MAX_DIGITS})", 0),
        (f"len('a' * {MAX_ITEMS})", MAX_ITEMS),
        (f"len('a' * {MAX_ITEMS - 1} + 'b')", MAX_ITEMS),
        (f"len(join('b', ['a' * {MAX_ITEMS - 2}, 'a']))", MAX_ITEMS),
        (f"len(join('b', ['a' * {MAX_ITEMS}]))", MAX_ITEMS),
        ("join('b', [])", ""),
        ("join('bb', ['a'])", "a"),
        ("get([1, 2], -2)", 1),
        ("get([1, 2], 1)", 2),
        ("get([1, 2], -3, 'none')", "none"),
        ("get([1, 2], 2, 'none')", "none"),
        ("get([1, 2], True, 'none')", "none"),
        ("[1, 2][-2]", 1),
        ("get({'k': None}, 'k', 1)", None),
        ("where([{'a': 1}, {'b': 2}, 3], 'b', 2)", [{"b": 2}]),
        ("pluck([{'a': 1}, {'b': 2}, 3], 'b')", [2]),
        ("'a' in {'a': 1}", True),
        ("'b' in {'a': 1}", False),
        ("[1] in {'a': 1}", False),
        ("1 in {'a': 1}", False),
    ],
)
def test_what_is_within_the_limits_is_computed(text: str, value: object) -> None:
    """A limit is what may be used."""
    assert compute(text) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{MAX_INTEGER} + 1", "the number is too large"),
        (f"-{MAX_INTEGER} - 1", "the number is too large"),
        (f"1 ** {MAX_EXPONENT + 1}", "the exponent is over 64"),
        (f"1 ** -{MAX_EXPONENT + 1}", "the exponent is over 64"),
        (f"round(1.5, {MAX_DIGITS + 1})", "round takes at most 15 digits"),
        ("round(1.5, True)", "round takes at most 15 digits"),
        (f"'a' * {MAX_ITEMS + 1}", "the result would have 100001 items, over the limit of 100000"),
        (f"'a' * {MAX_ITEMS} + 'b'", "the result would have 100001 items, over the limit of 100000"),
        (f"join('b', ['a' * {MAX_ITEMS - 1}, 'a'])", "the result would have 100001 items, over the limit of 100000"),
        ("[1, 2][2]", "there is no item 2 among 2"),
        ("[1, 2][-3]", "there is no item -3 among 2"),
    ],
)
def test_what_is_one_over_a_limit_is_refused(text: str, what: str) -> None:
    """Whatever a tool returned, an expression makes no more of it than this."""
    assert refusal(text).what == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1] + 'a'", "+ needs numbers, not a list"),
        ("'a' + [1]", "+ needs numbers, not text"),
        ("[1] + 1", "+ needs numbers, not a list"),
        ("1 + 'a'", "+ needs numbers, not text"),
    ],
)
def test_only_what_is_of_one_kind_is_joined(text: str, what: str) -> None:
    """Said in the language's own words, not in those of Python's lists."""
    assert refusal(text).what == what
