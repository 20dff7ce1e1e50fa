"""Safe expressions: what they compute, what they refuse, and that nothing hostile gets through."""

import pickle
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from orchestrator.contracts.errors import ConfigError
from orchestrator.kernel.expression_compiler import reason_of
from orchestrator.kernel.expressions import (
    ExpressionError,
    compile_expression,
    find_expressions,
    resolve,
)

STATE: dict[str, JsonValue] = {
    "n": 3,
    "name": "Ann",
    "items": [{"k": "a", "v": 1}, {"k": "b", "v": 2}, {"k": "a"}],
    "none": None,
}
NAMES: dict[str, JsonValue] = {"state": STATE, "ok": True, "xs": [3, 1, 2], "text": "Hello", "empty": []}
#: No JSON, which an app's own code could still put there.
ODD: dict[str, Any] = {"odd": b"x"}

VALUES = [
    ("1 + 2 * 3", 7),
    ("7 // 2 - 7 % 4", 0),
    ("2 ** 10", 1024),
    ("2 ** -1", 0.5),
    ("-state['n']", -3),
    ("1 / 4", 0.25),
    ("'a' + 'b' * 3", "abbb"),
    ("3 * 'b'", "bbb"),
    ("[1] + [2]", [1, 2]),
    ("(1, 'x')", [1, "x"]),
    ("{'a': state['n'], 'b': [1]}", {"a": 3, "b": [1]}),
    ("{}", {}),
    ("1 < 2 < 3", True),
    ("1 < 2 > 3", False),
    ("'a' in 'cat' and 'n' in state", True),
    ("4 not in xs", True),
    ("4 in {'a': 1}", False),
    ("state['none'] is None", True),
    ("ok is not False", True),
    ("state['none'] or 'default'", "default"),
    ("ok and xs", [3, 1, 2]),
    ("not empty", True),
    ("'yes' if ok else missing", "yes"),
    ("ok or missing", True),
    ("xs[0] + xs[-1]", 5),
    ("xs[1:]", [1, 2]),
    ("text[::-1]", "olleH"),
    ("text[0]", "H"),
    ("xs[:]", [3, 1, 2]),
    ("len(text) + len(xs) + len({})", 8),
    ("str(1) + str(True) + str({'a': 1}) + str('x')", '1True{"a":1}x'),
    ("int('7') + int(2.9)", 9),
    ("float('0.5')", 0.5),
    ("bool([])", False),
    ("round(2.567, 1)", 2.6),
    ("round(2.4)", 2),
    ("min(xs) + max(xs)", 4),
    ("max(1, 5, 2)", 5),
    ("sum(xs) + abs(-1)", 7),
    ("sorted(xs)", [1, 2, 3]),
    ("any(empty)", False),
    ("all(empty)", True),
    ("join(', ', ['a', 1, True])", "a, 1, True"),
    ("get(state, 'n', 0)", 3),
    ("get(state, 'zzz', 0)", 0),
    ("get(state['none'], 'x')", None),
    ("get(xs, 9, 'none')", "none"),
    ("keys({'b': 1, 'a': 2})", ["b", "a"]),
    ("values({'b': 1, 'a': 2})", [1, 2]),
    ("count(state['items'], 'k', 'a')", 2),
    ("where(state['items'], 'v', 2)", [{"k": "b", "v": 2}]),
    ("pluck(state['items'], 'v')", [1, 2]),
    ("first(xs)", 3),
    ("first(empty, 'none')", "none"),
    ("lower(text) + upper(text)", "helloHELLO"),
    ("contains(text, 'ell') and contains(xs, 3)", True),
    ("startswith(text, 'He')", True),
    ("flatten([[1], 2, [3, 4]])", [1, 2, 3, 4]),
    ("  \n  1 + 1\n", 2),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_an_expression_computes(text: str, value: object) -> None:
    """The language is what app authors write policies in: each construct gives what they expect."""
    found = compile_expression(text).evaluate(NAMES)

    assert found == value
    assert type(found) is type(value)


REFUSED = [
    ("state.n", 0, "attribute"),
    ("1 + state.n", 4, "attribute"),
    ("().__class__.__bases__", 0, "attribute"),
    ("__import__('os')", 0, "unknown function"),
    ("__builtins__", 0, "'__builtins__' is not allowed"),
    ("open('/etc/passwd')", 0, "unknown function 'open'"),
    ("getattr(state, 'x')", 0, "unknown function"),
    ("(lambda: 1)()", 1, "lambda"),
    ("lambda: 1", 0, "lambda"),
    ("[x for x in xs]", 0, "comprehension"),
    ("{x for x in xs}", 0, "comprehension"),
    ("{x: 1 for x in xs}", 0, "comprehension"),
    ("any(x for x in xs)", 3, "comprehension"),
    ("f'{ok}'", 0, "f-string"),
    ("(y := 1)", 1, "assignment"),
    ("[*xs]", 1, "starred"),
    ("max(*xs)", 4, "starred"),
    ("{**state}", 3, "starred"),
    ("{1, 2}", 0, "set"),
    ("{1: 2}", 1, "a key is text"),
    ("round(1, ndigits=2)", 0, "by position"),
    ("len()", 0, "takes 1 arguments, not 0"),
    ("round(1, 2, 3)", 0, "takes 1 to 2 arguments"),
    ("xs[0](1)", 0, "calling this"),
    ("1 | 2", 0, "BitOr"),
    ("1 << 9999999", 0, "LShift"),
    ("~1", 0, "Invert"),
    ("+1", 0, "UAdd"),
    ("xs is xs", 6, "use =="),
    ("b'x'", 0, "bytes"),
    ("1j", 0, "complex"),
    ("...", 0, "ellipsis"),
    ("1" + "0" * 16, 0, "too large"),
    ("1e999", 0, "not finite"),
    ("'a", 0, "unterminated"),
    ("x = 1", 0, "not an expression"),
    ("", 0, "not an expression"),
    ("1 +\x00", 0, "not an expression"),
    ("1;2", 1, "not an expression"),
    ("await x", 0, ""),
    ("'\ud800'", 0, "not an expression: 'utf-8' codec can't encode"),
    (r"ok == '\ud800'", 6, "half of a surrogate pair is no text that JSON holds"),
    ("1 " * 1001, 0, "characters"),
    ("[" + "1," * 250 + "]", 0, "parts"),
    ("not " * 60 + "ok", 0, "deep"),
    ("-" * 1999 + "1", 0, ""),
    ("(" * 900 + "1" + ")" * 900, 0, "not an expression"),
    ("xs" + "[0]" * 60, 0, "deep"),
]


@pytest.mark.parametrize(("text", "position", "what"), REFUSED, ids=[repr(t[:30]) for t, _, _ in REFUSED])
def test_what_is_outside_the_grammar_is_refused_at_load(text: str, position: int, what: str) -> None:
    """An app that loads can only compute: everything else is refused, where and why."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)

    assert what in str(caught.value)
    if position:
        assert caught.value.position == position


FAILING = [
    ("missing", "unknown name 'missing'"),
    ("stat", "did you mean 'state'?"),
    ("true", "did you mean 'True'?"),
    ("len", "unknown name"),
    ("state['zzz']", "no key 'zzz'"),
    ("xs[7]", "no item 7 among 3"),
    ("xs['a']", "a whole number"),
    ("xs[True]", "a whole number"),
    ("state['none']['x']", "null has no items"),
    ("state[xs]", "no key"),
    ("xs['a':]", "slice"),
    ("xs[::0]", "slice step"),
    ("1 / 0", "division by zero"),
    ("1 % 0", "modulo"),
    ("'%s' % 1", "needs numbers"),
    ("'%999999999d' % 1", "needs numbers"),
    ("text + 1", "needs numbers, not text"),
    ("xs * 3", "needs numbers, not a list"),
    ("[[[1] * 99999] * 99999] * 99999", "needs numbers"),
    ("'a' * 100001", "over the limit"),
    ("'aaaaaaaaaa' * 100000 * 100000", "over the limit"),
    ("1000000000000000 * 1000000000000000", "too large"),
    ("9 ** 9 ** 9", "exponent"),
    ("10 ** 64", "too large"),
    ("(-8) ** 0.5", "negative number"),
    ("0 ** -1", "negative power"),
    ("1e308 * 10", "not finite"),
    ("1 < 'a'", "not supported"),
    ("1 in 5", "needs a list"),
    ("1 in 'a'", "needs text"),
    ("round(1, -999999999)", "at most 15 digits"),
    ("int('x')", "invalid literal"),
    ("int('9' * 5000)", "limit"),
    ("float('nan')", "not finite"),
    ("int(1e300)", "too large"),
    ("min([])", "min of nothing"),
    ("sum(['a'])", "needs numbers"),
    ("join(1, [])", "needs text"),
    ("join('x' * 99999, [1, 2, 3])", "over the limit"),
    ("flatten(['x' * 9, 1, state])[9]", "no item"),
    ("get(1, 'x')", "needs a mapping"),
    ("keys(xs)", "needs a mapping"),
    ("lower(1)", "needs text"),
    ("{text: 1, xs: 2}", "unhashable"),
    ("{xs[0]: 1}", "a key is text"),
    ("int(xs)", "int needs a number or text, not a list"),
    ("float(state)", "float needs a number or text, not a mapping"),
    ("1 - odd", "- needs numbers, not bytes"),
    ("len(1)", "len needs"),
]


@pytest.mark.parametrize(("text", "what"), FAILING)
def test_a_failing_evaluation_says_why(text: str, what: str) -> None:
    """Whoever reads the error at night sees the reason in the language's own words."""
    expression = compile_expression(text)

    with pytest.raises(ExpressionError) as caught:
        expression.evaluate({**NAMES, **ODD})
    assert what in str(caught.value)


def test_the_error_points_at_the_failing_part() -> None:
    """In a long policy the position is what finds the mistake, also behind non-ASCII text."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression("'äöü' + xs[9]").evaluate(NAMES)

    assert caught.value.position == 8
    assert str(caught.value) == "expression \"'äöü' + xs[9]\", column 9: there is no item 9 among 3"


def test_a_position_counts_across_lines_of_the_text_as_given() -> None:
    """YAML blocks have several lines and leading blanks; the loader maps the position back."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression("  (1 +\n  a.b)")

    assert caught.value.position == len("  (1 +\n  ")


def test_an_error_is_a_config_error_and_survives_pickling() -> None:
    """Errors cross process borders in worker pools."""
    error = ExpressionError("bad", text="a b", position=2)
    copy: ExpressionError = pickle.loads(pickle.dumps(error))

    assert issubclass(ExpressionError, ConfigError)
    assert (copy.what, copy.text, copy.position, str(copy)) == ("bad", "a b", 2, str(error))


def test_names_are_those_looked_up_and_not_the_functions() -> None:
    """The loader checks names against what a place offers, so a typo is found at boot."""
    assert compile_expression("len(state['a']) > count and 'text' in xs").names == {"state", "count", "xs"}


def test_the_same_text_is_compiled_once() -> None:
    """Policies are evaluated every turn; parsing every time would cost more than the turn."""
    assert compile_expression("1 + 1") is compile_expression("1 + 1")


def test_evaluation_leaves_its_names_unchanged() -> None:
    """State is shared with the session's record: an expression must not be able to change it."""
    names: dict[str, JsonValue] = {"xs": [3, 1, 2], "state": {"a": [1]}}

    compile_expression("[sorted(xs), xs + [4], flatten([xs, xs]), state['a'] + [2]]").evaluate(names)
    assert names == {"xs": [3, 1, 2], "state": {"a": [1]}}


def test_resolve_replaces_only_single_equals_strings() -> None:
    """Arguments in YAML mix literals and expressions; `==` keeps a literal `=`."""
    value: JsonValue = {"a": "=text", "b": ["=1 + 1", "x = 1", {"c": "==raw"}], "=key": None, "n": 4, "t": True}

    assert resolve(value, NAMES) == {
        "a": "Hello",
        "b": [2, "x = 1", {"c": "=raw"}],
        "=key": None,
        "n": 4,
        "t": True,
    }


def test_resolve_and_find_refuse_a_broken_expression() -> None:
    """A broken argument is found when the app is checked, and never passed on as text."""
    with pytest.raises(ExpressionError):
        resolve({"a": ["=1 +"]}, NAMES)
    with pytest.raises(ExpressionError):
        list(find_expressions({"a": [{"b": "=state.n"}]}))


def test_a_value_nested_without_end_is_refused() -> None:
    """Depth is a resource too: it ends in our error, not in the interpreter's."""
    deep: list[JsonValue] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ExpressionError):
        resolve(deep, NAMES)
    assert list(find_expressions(deep)) == []
    with pytest.raises(ExpressionError):
        compile_expression("str(x)").evaluate({"x": deep})


def position_of_failure(text: str, names: dict[str, JsonValue]) -> int:
    """Return where the expression failed, or 0; anything but an ExpressionError escapes."""
    try:
        compile_expression(text).evaluate(names)
    except ExpressionError as error:
        return error.position
    return 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
WORDS = ["a", "b", "'x'", "0", "1", "9", "1e308", "None", "True", "[a]", "{'k': a}", "()", "__class__", "äé"]
CALLS = ["len", "str", "int", "float", "bool", "round", "min", "max", "sum", "abs", "sorted", "any", "all", "keys"]
MORE_CALLS = ["values", "first", "lower", "upper", "flatten", "open", "eval"]
PAIRS = ["get", "join", "pluck", "contains", "startswith", "round"]
OPS = ["+", "-", "*", "/", "//", "%", "**", "<", "==", "in", "not in", "and", "or", "is", "|", ":="]
EXPRESSIONS = st.recursive(
    st.sampled_from(WORDS),
    lambda e: st.one_of(
        st.builds("({} {} {})".format, e, st.sampled_from(OPS), e),
        st.builds("{}({})".format, st.sampled_from(CALLS + MORE_CALLS), e),
        st.builds("{}({}, {})".format, st.sampled_from(PAIRS), e, e),
        st.builds("where({}, {}, {})".format, e, e, e),
        st.builds("{}[{}]".format, e, e),
        st.builds("{}[{}:{}]".format, e, e, e),
        st.builds("-{}".format, e),
        st.builds("({} if {} else {})".format, e, e, e),
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(text=EXPRESSIONS, a=JSON, b=JSON)
def test_nothing_but_an_expression_error_ever_escapes(text: str, a: JsonValue, b: JsonValue) -> None:
    """Whatever the grammar can build over whatever a tool returned: a value, or our error, soon."""
    assert 0 <= position_of_failure(text, {"a": a, "b": b}) <= len(text)


@settings(max_examples=300)
@given(text=st.text(max_size=60) | st.text(alphabet="ab_ .,:;()[]{}'\"+-*/%<>=!\\\n\t#0129feujrn", max_size=60))
def test_no_text_crashes_the_compiler(text: str) -> None:
    """Expressions come from files that people edit; any text must end in a value or our error."""
    assert 0 <= position_of_failure(text, {"a": 1, "b": "x"}) <= len(text)


HOSTILE = [
    "'a' * 100000 + 'b' * 100000",
    "[" + ", ".join(["'a' * 100000"] * 60) + "]",
    "str([" + ", ".join(["big"] * 60) + "])",
    "sorted(big + big)",
    "sorted([" + ", ".join(["big"] * 90) + "])",
    "flatten([" + ", ".join(["big"] * 90) + "])",
    "big == big[:] == big[:] == big[:]",
    "2 ** 49 ** 1 * 2 ** 49",
    "round(10 ** 15, -15) ** 64",
    "'a' * 50000 in 'a' * 99999 + 'b'",
]


@pytest.mark.parametrize("text", HOSTILE, ids=[t[:30] for t in HOSTILE])
def test_the_worst_expressions_end_soon(text: str) -> None:
    """A lane's loop evaluates these inline: no accepted text may hold it."""
    names: dict[str, JsonValue] = {"big": [f"item {n}" for n in range(20_000)]}
    began = time.process_time()

    with suppress(ExpressionError):
        compile_expression(text).evaluate(names)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RecursionError("maximum"), "the values are nested too deeply"),
        (MemoryError(), "the values are too large"),
        (OverflowError("(34, 'Numerical result out of range')"), "the number is too large"),
        (KeyError("a"), "there is no key 'a'"),
        (KeyError(), "there is no key ''"),
        (ValueError("x" * 300), "x" * 200),
        (ValueError(), "ValueError"),
    ],
    ids=repr,
)
def test_what_python_says_is_said_in_the_languages_own_words(error: BaseException, said: str) -> None:
    """App authors do not write Python, and no text is without an end."""
    assert reason_of(error) == said


def test_a_compiled_expression_shows_its_text() -> None:
    """In a log, or under a debugger."""
    assert repr(compile_expression("1 + 1")) == "Expression('1 + 1')"


def test_a_stack_that_is_nearly_full_is_the_expressions_error() -> None:
    """Whoever evaluates it deep inside of something else is told, not ended."""
    expression, depth, frame = compile_expression("[" * 40 + "1" + "]" * 40), 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    before, said = sys.getrecursionlimit(), ""

    sys.setrecursionlimit(depth + 30)
    try:
        expression.evaluate({})
    except ExpressionError as error:
        said = error.what
    finally:
        sys.setrecursionlimit(before)
    assert said == "the values are nested too deeply"
