"""Where a value is found in a tool call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from orchestrator.kernel.lookup import MISSING, Found, find, names_match, read_lookup, read_path


@pytest.mark.parametrize(
    ("data", "path", "value"),
    [
        ({"a.b.c": 1, "a": {"b": {"c": 2}}}, "a.b.c", 1),
        ({"a.b": {"c": 1}, "a": {"b.c": 2, "b": {"c": 3}}}, "a.b.c", 1),
        ({"a": {"b.c": 2, "b": {"c": 3}}}, "a.b.c", 2),
        ({"a": {"b": {"c": 3}}}, "a.b.c", 3),
        ({"a.b": 7, "a": {"b": {"c": 3}}}, "a.b.c", 3),
        ({"a": {"b": [1]}}, "a.b.0", MISSING),
        ({"a": "text"}, "a.b", MISSING),
        ([{"a": 1}], "a", MISSING),
        (None, "a", MISSING),
        ({"": {"a": 1}}, ".a", 1),
        ({"": {"a.b": 1, "a": {"b": 2}}}, ".a.b", 1),
    ],
    ids=[
        *("literal", "longest-key", "literal-below", "nested", "dead-end", "list", "text", "no-mapping", "null"),
        *("empty-key", "empty-key-literal-below"),
    ],
)
def test_the_literal_key_goes_first_at_every_depth(data: JsonValue, path: str, value: Found) -> None:
    """Tools return keys with dots in them; such a key is what its author named."""
    assert read_path(data, path) == value


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=2), min_size=1, max_size=5), st.integers())
def test_every_nesting_of_a_path_is_found(keys: list[str], value: int) -> None:
    """However a tool groups the keys of a path, the lookup finds the value."""
    data: JsonValue = value
    for key in reversed(keys):
        data = {key: data}

    assert read_path(data, ".".join(keys)) == value
    assert read_path({".".join(keys): value}, ".".join(keys)) == value


@pytest.mark.parametrize("value", [0, False, 0.0, [], {}, " "])
def test_a_falsy_value_is_a_value(value: JsonValue) -> None:
    """A count of 0 is an answer."""
    assert find("args.x", {"x": value}, None) == value


@pytest.mark.parametrize("value", [None, ""])
def test_null_and_blank_are_missing_but_can_be_read(value: JsonValue) -> None:
    """An optional argument that a model left blank must not hide the result's value."""
    assert find("args.x", {"x": value}, None) is MISSING
    assert read_lookup("args.x", {"x": value}, None) == value


def test_a_null_literal_key_ends_its_own_lookup() -> None:
    """The key that was named is there and says nothing; the next lookup is tried, not another reading."""
    assert find("args.a.b", {"a.b": None, "a": {"b": 1}}, None) is MISSING


@pytest.mark.parametrize(
    "lookup", ["team", "args", "result", "args.", "", ".team", "foo.team", "Args.team", "call.team"]
)
def test_only_two_scopes_exist(lookup: str) -> None:
    """A misspelt scope must not read the other side."""
    assert find(lookup, {"team": "a", "": "b"}, {"team": "c", "": "d"}) is MISSING


@pytest.mark.parametrize("text", ["", "plain", "{", '{"a": NaN}', '"a"', "7", "[1]", "null", "[" * 100_000])
def test_text_that_is_no_mapping_has_no_fields(text: str) -> None:
    """A tool may answer with anything; finding nothing is not an error."""
    assert find("result.a", {}, text) is MISSING


def test_json_text_is_read_as_what_it_says() -> None:
    """Many servers answer with text, and `result.X` has to work with them."""
    assert find("result.a.b", {}, ' \n{"a": {"b": 0}}') == 0


@given(
    st.from_regex(r"[a-c]{1,2}(:[a-c]{1,2}){0,2}", fullmatch=True),
    st.from_regex(r"([a-c]{1,2}:){0,3}[a-c]{1,2}", fullmatch=True),
)
def test_a_name_matches_itself_and_deeper_qualifiers_only(rule: str, call: str) -> None:
    """Names are compared part by part, never as the end of a text."""
    parts, called = rule.split(":"), call.split(":")

    assert names_match(rule, call) == (called[-len(parts) :] == parts)
