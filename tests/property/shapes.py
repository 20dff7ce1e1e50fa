"""Hypothesis strategies from pydantic models: any value that a contract accepts, from its own declaration.

A field's strategy follows from its annotation and its bounds. What a validator demands beyond that is named in `OWN`.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.ids import PREFIX_PATTERN

LARGEST = 2**53
TEXT = st.text(max_size=12)
LEAVES = (
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)

#: Fields whose validators demand more than their annotation says.
OWN: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("AppSpec", "session_id_prefix"): st.from_regex(PREFIX_PATTERN, fullmatch=True),
}


def values_of(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Return values of a model; optional fields are left out as often as they are given."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        own = OWN.get((model.__name__, name))
        made = _field(field) if own is None else own
        (required if field.is_required() else optional)[name] = made
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: model(**given))


def _field(field: FieldInfo) -> st.SearchStrategy[Any]:
    return _strategy(field.annotation, field.metadata)


def _strategy(annotation: Any, bounds: list[Any]) -> st.SearchStrategy[Any]:
    if annotation is JsonValue or annotation is Any:
        return JSON
    if annotation == JsonObject:
        return OBJECT
    origin, args = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = [*bounds, *(part for one in annotation.__metadata__ for part in _bounds_of(one))]
        return _strategy(args[0], inner)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in {Union, UnionType}:
        return st.one_of([_strategy(one, bounds) for one in args])
    if origin is tuple and Ellipsis not in args:
        return st.tuples(*(_strategy(one, []) for one in args))
    if origin is tuple:
        least = next((one.min_length for one in bounds if isinstance(one, MinLen)), 0)
        return st.lists(_strategy(args[0], []), min_size=least, max_size=max(least, 2)).map(tuple)
    if origin in {dict, Mapping}:
        keys = TEXT if args[0] is Any else _strategy(args[0], [])  # in JSON a key is text
        return st.dictionaries(keys, _strategy(args[1], []), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.deferred(lambda: values_of(annotation))
    return _plain(annotation, bounds)


def _bounds_of(one: Any) -> list[Any]:
    return one.metadata if isinstance(one, FieldInfo) else [one]


def _plain(annotation: Any, bounds: list[Any]) -> st.SearchStrategy[Any]:
    if annotation is NoneType:
        return st.none()
    if annotation is bool:
        return st.booleans()
    pattern = next((one.pattern for one in bounds if getattr(one, "pattern", None)), None)
    low = next((one.ge if isinstance(one, Ge) else one.gt for one in bounds if isinstance(one, Ge | Gt)), None)
    high = next((one.le if isinstance(one, Le) else one.lt for one in bounds if isinstance(one, Le | Lt)), None)
    if annotation is int:
        return st.integers(-LARGEST if low is None else int(low), LARGEST if high is None else int(high))  # type: ignore[call-overload]
    if annotation is float:
        is_open = any(isinstance(one, Gt) for one in bounds)
        return st.floats(low, high, allow_nan=False, allow_infinity=False, exclude_min=is_open)  # type: ignore[arg-type]
    if annotation is Decimal:
        return st.decimals(low, high, allow_nan=False, allow_infinity=False, places=9)
    if annotation is str:
        least = next((one.min_length for one in bounds if isinstance(one, MinLen)), 0)
        most = next((one.max_length for one in bounds if isinstance(one, MaxLen)), 12)
        return st.from_regex(pattern, fullmatch=True) if pattern else st.text(min_size=least, max_size=min(most, 12))
    raise TypeError(f"no strategy for {annotation!r}; add one to tests/property/shapes.py")
