"""The ground that every shape stands on: frozen, and closed to unknown fields.

A value that crosses a module boundary is a `Frozen` model. It cannot be changed in place, a field
that nobody declared is refused when it is read, and it survives a round trip through JSON. What is
exchanged with modules and services of others is `Lenient` or `Open`: frozen too, but it reads what
a newer or a more talkative side wrote; so does what our own processes tell one another (`Shared`).
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import from_json, to_json

JsonObject: TypeAlias = dict[str, JsonValue]

#: Milliseconds since the Unix epoch, UTC. The store's server clock is the only source of "now".
Millis: TypeAlias = Annotated[int, Field(ge=0)]

#: A hundred years: what is longer no clock can hold, and `inf` is a text that reads as a number.
LONGEST_SECONDS: Final = 3_153_600_000
#: A time that an app declares.
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=LONGEST_SECONDS)]


#: What a number must have to be read as an infinity: an exponent of three digits, or two hundred digits. Most texts have
#: neither, and need no second look.
_HUGE: Final = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{200}")
_HUGE_BYTES: Final = re.compile(_HUGE.pattern.encode())


class Frozen(BaseModel):
    """A value: immutable, and closed to fields that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> str:
        """Return compact JSON without the fields that hold their defaults.

        A field that tells the members of a union apart therefore has no default.
        """
        # What `model_dump_json` does, without reading its dozen options.
        return self.__pydantic_serializer__.to_json(self, exclude_defaults=True, by_alias=True).decode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with these fields changed, which are not validated.

        Does what pydantic's own does, at a quarter of its cost: a value has no extra and no private fields, and
        every step makes several copies.
        """
        if deep:
            return super().model_copy(update=update, deep=True)
        changes = update or {}
        copy = object.__new__(type(self))
        put = object.__setattr__  # a frozen value refuses its own
        given = self.__pydantic_fields_set__
        put(copy, "__dict__", {**self.__dict__, **changes})
        put(copy, "__pydantic_fields_set__", given if given.issuperset(changes) else {*given, *changes})
        put(copy, "__pydantic_extra__", None)
        put(copy, "__pydantic_private__", None)
        return copy

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the JSON of `to_json`; raise pydantic's ValidationError for anything else."""
        return cls.model_validate_json(text)


class Shared(Frozen):
    """A value that processes of several versions tell one another: fields that a newer one added are dropped."""

    model_config = ConfigDict(extra="ignore")


class Lenient(BaseModel):
    """A value that is read from elsewhere: immutable; fields that it does not declare are dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, protected_namespaces=())

    def to_wire(self) -> JsonObject:
        """Return plain JSON data as it is sent: without None, under the names of the wire."""
        found: JsonObject = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        return found


class Open(Lenient):
    """A value that is read from elsewhere: immutable; fields that it does not declare are kept as they came."""

    model_config = ConfigDict(extra="allow")


def dump_json(value: object) -> str:
    """Return compact JSON of plain data.

    >>> dump_json({"a": [1, None]})
    '{"a":[1,null]}'
    """
    return to_json(value).decode()


def load_json(text: str | bytes) -> JsonValue:
    """Read JSON; NaN and infinities are refused as they are by every other reader of our data.

    A number of which nothing but an infinity is left, like 1e999, is one of them. Text that is no UTF-8, which the store hands out
    as halves of surrogate pairs, is no JSON either. Raise ValueError.

    >>> load_json('{"a": 1e308}')
    {'a': 1e+308}
    """
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False)
    except TypeError as error:
        raise ValueError("it is no UTF-8; give text that is") from error
    if _HUGE.search(text) if isinstance(text, str) else _HUGE_BYTES.search(text):
        _refuse_infinities(value)
    return value


def _refuse_infinities(value: JsonValue) -> None:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif isinstance(one, float) and not isfinite(one):
            raise ValueError("a number is too large; give a finite one")
