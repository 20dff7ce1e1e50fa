"""Say in an operator's words, and at the right place, what pydantic refuses in a document.

Pydantic's locations name branches of unions besides keys; the way from the model's root is walked
along its annotations, so that a branch is never taken for a key, and so that an unknown key is
compared with the fields of that very level.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orchestrator.contracts.errors import suggest
from orchestrator.yaml_document import Document, Problem, Where

#: An annotation as `typing` gives it; None where the walk has lost the type.
Hint: TypeAlias = Any

_QUOTABLE = (bool, int, float)
_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
}


@dataclass(frozen=True)
class _Level:
    """Where a walk stands: the path in the data, the model there, the union that chose it."""

    path: Where
    hint: Hint
    siblings: tuple[type[BaseModel], ...] = ()
    discriminator: str = ""
    in_union: bool = False


def explain(model: type[BaseModel], document: Document, errors: Iterable[ErrorDetails]) -> list[Problem]:
    """Return the problems that pydantic's errors stand for, one for each place."""
    alternatives: dict[Where, list[str]] = {}
    problems: list[Problem] = []
    for error in errors:
        # An unknown key stays unknown where a field behind an alias has that name.
        end = len(error["loc"]) - (error["type"] == "extra_forbidden")
        level, rest = _walk(_Level((), model), error["loc"][:end])
        rest = (*rest, *error["loc"][end:])
        path, message, at_key = _message(level, rest, error, document)
        if any(path[: len(broken)] == broken for broken in document.broken):
            continue  # its value could not be made, and that has been said
        if level.in_union:
            alternatives.setdefault(path, []).append(_expected(error))
            continue
        problems.append(Problem(document.where(path, key=at_key), path, message))
    for path, expected in alternatives.items():
        message = f"expected {' or '.join(dict.fromkeys(expected))}{_got(document, path)}"
        problems.append(Problem(document.where(path), path, message))
    return problems


def _walk(level: _Level, loc: Sequence[int | str]) -> tuple[_Level, Sequence[int | str]]:
    """Follow a location along the annotations; return where it ends and what was left of it."""
    for index, part in enumerate(loc):
        after = _step(level, part)
        if after is None:
            return level, loc[index:]
        level = after
    return _through_union(level), ()


def _step(level: _Level, part: int | str) -> _Level | None:
    hint, discriminator = _bare(level.hint)
    members = _members(hint)
    if members and discriminator:
        models = tuple(member for member in members if _is_model(member))
        chosen = next((m for m in models if str(part) in _tags(m, discriminator)), None)
        return _Level(level.path, chosen, models, discriminator) if chosen else None
    if members:
        # The name of a branch: nothing in the data goes by it.
        chosen = next((m for m in members if getattr(m, "__name__", None) == part), None)
        return _Level(level.path, chosen, in_union=True)
    if _is_model(hint):
        found = _field(hint, str(part))
        return None if found is None else _Level((*level.path, part), found)
    if part == "[key]":
        return None
    args = [arg for arg in get_args(hint) if arg is not Ellipsis]
    origin = _origin(hint)
    if origin is dict and len(args) == 2:
        return _Level((*level.path, part), args[1])
    if isinstance(part, int) and args:
        return _Level((*level.path, part), args[min(part, len(args) - 1)] if origin is tuple else args[0])
    return _Level((*level.path, part), None) if isinstance(part, int | str) else None


def _through_union(level: _Level) -> _Level:
    hint, discriminator = _bare(level.hint)
    models = tuple(member for member in _members(hint) if _is_model(member))
    return _Level(level.path, level.hint, models, discriminator) if models and discriminator else level


def _message(
    level: _Level, rest: Sequence[int | str], error: ErrorDetails, document: Document
) -> tuple[Where, str, bool]:
    path = level.path
    kind, model = error["type"], _bare(level.hint)[0]
    last = str(rest[-1]) if rest else ""
    if kind == "extra_forbidden" and last:
        return (*path, last), _unknown_key(last, level, model), True
    if kind == "missing":
        return path, "required; add it", False
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_tag(level, document)
    if rest and last == "[key]":
        key = str(rest[-2]) if len(rest) > 1 else ""
        return (*path, key) if key else path, f"key: {_lowered(error)}", True
    return path, _wrong_value(error, document, path), False


def _unknown_key(key: str, level: _Level, model: Hint) -> str:
    others = [member for member in level.siblings if member is not model and key in _names(member)]
    owners = [tag for member in others for tag in _tags(member, level.discriminator)]
    if owners and _is_model(model):
        mine = ", ".join(_tags(model, level.discriminator))
        return f"{key!r} is a field of {level.discriminator} {' or '.join(owners)}, not of {mine}; remove it"
    return f"unknown key; {suggest(key, _names(model) if _is_model(model) else ())}"


def _wrong_tag(level: _Level, document: Document) -> tuple[Where, str, bool]:
    tags = [tag for member in level.siblings for tag in _tags(member, level.discriminator)]
    path = (*level.path, level.discriminator)
    value = document.get(path)
    if value is None:
        return level.path, f"{level.discriminator}: required; one of {', '.join(tags)}", False
    return path, f"unknown {level.discriminator} {_shown(document, path)}; {suggest(str(value), tags)}", False


def _wrong_value(error: ErrorDetails, document: Document, path: Where) -> str:
    kind, value = error["type"], document.get(path)
    if kind == "literal_error":
        choices = str(error.get("ctx", {}).get("expected", ""))
        words = [word.strip("'\" ") for word in choices.replace(" or ", ", ").split(",")]
        return f"unknown value{_shown(document, path, ' ')}; {suggest(str(value), words)}"
    if kind in _EXPECTED:
        hint = "; put it in quotes" if kind == "string_type" and isinstance(value, _QUOTABLE) else ""
        return f"expected {_EXPECTED[kind]}{_got(document, path)}{hint}"
    if kind == "value_error":
        return str(error.get("ctx", {}).get("error", error["msg"]))
    return f"{_lowered(error)}{_got(document, path)}"


def _expected(error: ErrorDetails) -> str:
    return _EXPECTED.get(error["type"]) or _lowered(error)


def _lowered(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ").removeprefix("Input ").lower()


def _shown(document: Document, path: Where, before: str = "") -> str:
    value = document.get(path)
    # What came out of a variable may be a secret.
    if path in document.expanded or isinstance(value, dict | list):
        return ""
    return f"{before}{_brief(value)}"


def _got(document: Document, path: Where) -> str:
    value = document.get(path)
    if isinstance(value, dict):
        return ", got a mapping"
    if isinstance(value, list):
        return ", got a list"
    return _shown(document, path, ", got ")


def _brief(value: JsonValue) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --- annotations ---------------------------------------------------------------------------------


def _origin(hint: Hint) -> Hint:
    return get_origin(hint)


def _bare(hint: Hint) -> tuple[Hint, str]:
    """Return an annotation without Annotated and Optional, and its discriminator or ""."""
    discriminator = ""
    while True:
        if isinstance(hint, FieldInfo):
            infos: list[object] = [hint, *hint.metadata]
            hint = hint.annotation
        elif _origin(hint) is Annotated:
            infos = list(hint.__metadata__)
            hint = hint.__origin__
        else:
            rest = [arg for arg in get_args(hint) if arg is not type(None)]
            if _origin(hint) not in (Union, UnionType) or len(rest) != 1:
                return hint, discriminator
            infos, hint = [], rest[0]
        for info in infos:
            if isinstance(info, FieldInfo) and isinstance(info.discriminator, str):
                discriminator = info.discriminator


def _members(hint: Hint) -> tuple[Hint, ...]:
    if _origin(hint) not in (Union, UnionType):
        return ()
    return tuple(_bare(member)[0] for member in get_args(hint) if member is not type(None))


def _is_model(hint: Hint) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    for own, info in model.model_fields.items():
        if name in (own, info.alias, info.validation_alias):
            return info
    return None


def _names(model: type[BaseModel]) -> list[str]:
    """Return the keys that a person may write, aliases instead of the names behind them."""
    return [info.alias or name for name, info in model.model_fields.items()]


def _tags(model: type[BaseModel], discriminator: str) -> list[str]:
    info = model.model_fields.get(discriminator)
    annotation = info.annotation if info else None
    return [str(tag) for tag in get_args(annotation)] if _origin(annotation) is Literal else []
