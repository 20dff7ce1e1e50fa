"""JSON as everybody else reads it: what cannot be written down again is not read either."""

import pytest

from orchestrator.contracts.base import Frozen, JsonObject, dump_json, load_json


@pytest.mark.parametrize(
    "text",
    ["NaN", "[Infinity]", "1e999", '{"a":[1,-1E+999]}', "9" * 400 + ".5", "9" * 290 + "e99", '{"a":{"b":1e0999}}'],
)
def test_a_number_that_is_no_number_any_more_is_refused(text: str) -> None:
    """An infinity would be stored as a word that no other reader of JSON takes."""
    for form in (text, text.encode()):
        with pytest.raises(ValueError, match=r"finite|expected|number"):
            load_json(form)


@pytest.mark.parametrize("text", ["1e308", "-1e-999", '"1e999"', "9" * 400, '{"1e999":"Infinity"}'])
def test_what_only_looks_like_one_is_read(text: str) -> None:
    """Texts, whole numbers of any length, and what becomes zero."""
    assert load_json(dump_json(load_json(text))) == load_json(text)


@pytest.mark.parametrize("text", ["\ud800", '{"a":"\udcff"}', b'"\xff"', b"\xed\xa0\x80"], ids=repr)
def test_text_that_is_no_utf8_is_no_json(text: str | bytes) -> None:
    """The store gives bytes that are no text as halves of surrogate pairs: a damaged field is refused like any other."""
    with pytest.raises(ValueError, match=r"UTF-8|unicode|expected|invalid"):
        load_json(text)


class Box(Frozen):
    """A value that holds something that can change."""

    name: str
    held: JsonObject = {}


def test_a_copy_shares_what_it_holds_unless_it_is_a_deep_one() -> None:
    """Every step copies values: what is not changed is not copied, and who wants its own copy says so."""
    box = Box(name="a", held={"list": [1]})
    plain, deep = box.model_copy(update={"name": "b"}), box.model_copy(update={"name": "b"}, deep=True)

    assert (plain, deep) == (Box(name="b", held={"list": [1]}), Box(name="b", held={"list": [1]}))
    assert plain.held is box.held
    assert deep.held is not box.held
    assert deep.held["list"] is not box.held["list"]
