"""The closed set of functions and operators that a safe expression may use.

Each takes JSON values and returns a JSON value, and refuses with a TypeError or ValueError whose
text a person can read; `expressions` adds where it happened. None grows a value past its limits:
lists are never multiplied, and every longer text or list is measured before it is made.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

from orchestrator.contracts.base import dump_json

#: Largest magnitude of a whole number that an expression may make.
MAX_INTEGER: Final = 10**15
#: Most characters of a text, most items of a list, that an expression may make.
MAX_ITEMS: Final = 100_000
MAX_EXPONENT: Final = 64
MAX_DIGITS: Final = 15


class Function(NamedTuple):
    """A function with the least and the greatest number of its arguments."""

    run: Callable[..., Any]
    least: int
    most: int


def kind_of(value: object) -> str:
    """Return what a person calls this sort of value.

    >>> kind_of(None), kind_of(True), kind_of([])
    ('null', 'a truth value', 'a list')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
    return type(value).__name__


def to_text(value: JsonValue) -> str:
    """Return text as it is, a mapping or list as compact JSON, anything else as Python writes it.

    >>> to_text("a"), to_text(0.5), to_text({"a": [1]})
    ('a', '0.5', '{"a":[1]}')
    """
    if isinstance(value, str):
        return value
    return dump_json(value) if isinstance(value, dict | list) else str(value)


def bounded(value: Any) -> Any:
    """Return `value` if a result may be so large; raise ValueError otherwise."""
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("the number is too large")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the number is not finite")
    elif isinstance(value, str | list):
        _fits(len(value))
    return value


def add(left: Any, right: Any) -> Any:
    """Add two numbers, or join two texts or two lists."""
    if (isinstance(left, str) and isinstance(right, str)) or (isinstance(left, list) and isinstance(right, list)):
        _fits(len(left) + len(right))
        return left + right  # type: ignore[operator]  # both are texts, or both are lists
    return bounded(_number(left, "+") + _number(right, "+"))


def subtract(left: Any, right: Any) -> Any:
    """Subtract two numbers."""
    return bounded(_number(left, "-") - _number(right, "-"))


def multiply(left: Any, right: Any) -> Any:
    """Multiply two numbers, or repeat a text; lists are not repeated, because copies share their items."""
    if isinstance(left, str) and isinstance(right, int):
        _fits(len(left) * right)
        return left * right
    if isinstance(right, str) and isinstance(left, int):
        return multiply(right, left)
    return bounded(_number(left, "*") * _number(right, "*"))


def divide(left: Any, right: Any) -> Any:
    """Divide two numbers."""
    return bounded(_number(left, "/") / _number(right, "/"))


def floor_divide(left: Any, right: Any) -> Any:
    """Divide two numbers and round down."""
    return bounded(_number(left, "//") // _number(right, "//"))


def modulo(left: Any, right: Any) -> Any:
    """Return the remainder of two numbers; never formats text."""
    return bounded(_number(left, "%") % _number(right, "%"))


def power(left: Any, right: Any) -> Any:
    """Raise a number to a small power."""
    base, exponent = _number(left, "**"), _number(right, "**")
    bounded(base)
    if abs(exponent) > MAX_EXPONENT:
        raise ValueError(f"the exponent is over {MAX_EXPONENT}")
    value = base**exponent
    if isinstance(value, complex):
        raise ValueError("a root of a negative number is no number here")
    return bounded(value)


def negate(value: Any) -> Any:
    """Return the negative of a number."""
    return bounded(-_number(value, "-"))


def is_member(item: Any, box: Any) -> bool:
    """Say whether a list has the item, a mapping the key, or a text the part."""
    if isinstance(box, str):
        return _text(item, "in") in box
    if isinstance(box, dict):
        return isinstance(item, str) and item in box
    return item in _list(box, "in")


def pick(box: Any, key: Any) -> Any:
    """Return one item of a list, one character of a text, or one value of a mapping."""
    if isinstance(box, dict):
        if isinstance(key, str) and key in box:
            return box[key]
        raise LookupError(f"there is no key {key!r:.60}")
    if not isinstance(box, list | str):
        raise TypeError(f"{kind_of(box)} has no items")
    if type(key) is not int:
        raise TypeError(f"an item of {kind_of(box)} has a whole number, not {kind_of(key)}")
    if not -len(box) <= key < len(box):
        raise LookupError(f"there is no item {key} among {len(box)}")
    return box[key]


def cut(box: Any, start: Any, stop: Any, step: Any) -> Any:
    """Return a part of a list or of a text."""
    if not isinstance(box, list | str):
        raise TypeError(f"{kind_of(box)} cannot be sliced")
    return box[start:stop:step]


def _number(value: Any, what: str) -> Any:
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{what} needs numbers, not {kind_of(value)}")


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{what} needs text, not {kind_of(value)}")


def _list(value: Any, what: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TypeError(f"{what} needs a list, not {kind_of(value)}")


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError(f"{what} needs a mapping, not {kind_of(value)}")


def _fits(size: int) -> None:
    if size > MAX_ITEMS:
        raise ValueError(f"the result would have {size} items, over the limit of {MAX_ITEMS}")


def _len(value: Any) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    raise TypeError(f"len needs text, a list or a mapping, not {kind_of(value)}")


def _int(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return bounded(int(value))
    raise TypeError(f"int needs a number or text, not {kind_of(value)}")


def _float(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return bounded(float(value))
    raise TypeError(f"float needs a number or text, not {kind_of(value)}")


def _round(value: Any, digits: Any = None) -> Any:
    if digits is not None and (type(digits) is not int or abs(digits) > MAX_DIGITS):
        raise ValueError(f"round takes at most {MAX_DIGITS} digits")
    return bounded(round(_number(value, "round"), digits))


def _extreme(choose: Callable[[Iterable[Any]], Any], name: str) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        items = _list(values[0], name) if len(values) == 1 else values
        if not items:
            raise ValueError(f"{name} of nothing")
        return choose(items)

    return run


def _sum(values: Any) -> Any:
    return bounded(sum(_number(v, "sum") for v in _list(values, "sum")))


def _join(separator: Any, values: Any) -> str:
    texts = [to_text(v) for v in _list(values, "join")]
    between = _text(separator, "join")
    _fits(sum(map(len, texts)) + len(between) * max(0, len(texts) - 1))
    return between.join(texts)


def _get(box: Any, key: Any, default: Any = None) -> Any:
    if box is None:
        return default
    if isinstance(box, list):
        return box[key] if type(key) is int and -len(box) <= key < len(box) else default
    return _mapping(box, "get").get(_text(key, "get"), default)


def _where(values: Any, key: Any, wanted: Any) -> list[Any]:
    name = _text(key, "where")
    return [v for v in _list(values, "where") if isinstance(v, dict) and name in v and v[name] == wanted]


def _pluck(values: Any, key: Any) -> list[Any]:
    name = _text(key, "pluck")
    return [v[name] for v in _list(values, "pluck") if isinstance(v, dict) and name in v]


def _first(values: Any, default: Any = None) -> Any:
    items = _list(values, "first")
    return items[0] if items else default


def _flatten(values: Any) -> list[Any]:
    parts = [v if isinstance(v, list) else [v] for v in _list(values, "flatten")]
    _fits(sum(map(len, parts)))
    return [item for part in parts for item in part]


#: Everything that an expression may call, by name. `where`, `count` and `pluck` pass over items
#: that are no mapping or lack the key; `get` gives its default for a missing key and for null.
FUNCTIONS: Final[dict[str, Function]] = {
    "len": Function(_len, 1, 1),
    "str": Function(lambda v: bounded(to_text(v)), 1, 1),
    "int": Function(_int, 1, 1),
    "float": Function(_float, 1, 1),
    "bool": Function(bool, 1, 1),
    "round": Function(_round, 1, 2),
    "min": Function(_extreme(min, "min"), 1, 50),
    "max": Function(_extreme(max, "max"), 1, 50),
    "sum": Function(_sum, 1, 1),
    "abs": Function(lambda v: bounded(abs(_number(v, "abs"))), 1, 1),
    "sorted": Function(lambda v: sorted(_list(v, "sorted")), 1, 1),
    "any": Function(lambda v: any(_list(v, "any")), 1, 1),
    "all": Function(lambda v: all(_list(v, "all")), 1, 1),
    "join": Function(_join, 2, 2),
    "get": Function(_get, 2, 3),
    "keys": Function(lambda v: list(_mapping(v, "keys")), 1, 1),
    "values": Function(lambda v: list(_mapping(v, "values").values()), 1, 1),
    "count": Function(lambda seq, key, value: len(_where(seq, key, value)), 3, 3),
    "where": Function(_where, 3, 3),
    "pluck": Function(_pluck, 2, 2),
    "first": Function(_first, 1, 2),
    "lower": Function(lambda v: _text(v, "lower").lower(), 1, 1),
    "upper": Function(lambda v: bounded(_text(v, "upper").upper()), 1, 1),
    "contains": Function(lambda box, item: is_member(item, box), 2, 2),
    "startswith": Function(lambda v, prefix: _text(v, "startswith").startswith(_text(prefix, "startswith")), 2, 2),
    "flatten": Function(_flatten, 1, 1),
}
