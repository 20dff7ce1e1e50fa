"""Validate a session's state by its app's `state_schema`.

`validate_state` is for what a caller submits, `check_state` for what the app's own steps made of
it. Without a schema, any JSON object is a state. How large a state may be is the client's and
the executor's to say.
"""

from collections.abc import Mapping
from typing import get_args

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from orchestrator.app_code import call_function, load_object
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import AppCodeFailed, AppCodeInvalid, InvalidOverrides, StateInvalid
from orchestrator.yaml_document import Document
from orchestrator.yaml_nodes import Mark
from orchestrator.yaml_problems import explain


def load_state_class(spec: AppSpec) -> type[BaseModel] | None:
    """Return the class of the app's state, None if it has no schema; raise AppCodeInvalid."""
    if spec.state_schema is None:
        return None
    found = load_object(spec, spec.state_schema)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise AppCodeInvalid(f"{spec.state_schema!r}: {found!r} is not a pydantic BaseModel subclass; make it one")
    return found


def state_keys(spec: AppSpec) -> tuple[str, ...] | None:
    """Return the keys that the state may have, or None where it may have any."""
    schema = load_state_class(spec)
    if schema is None or schema.model_config.get("extra") == "allow":
        return None
    return tuple(schema.model_fields)


def validate_state(spec: AppSpec, overrides: Mapping[str, object]) -> JsonObject:
    """Return the state that a session starts with: the overrides, checked, and the schema's defaults.

    Raises InvalidOverrides with every problem, a line each. Unknown keys are refused at every
    level where the schema does not allow them in so many words.
    """
    problems, state = _validate(spec, overrides, label="state")
    if problems:
        raise InvalidOverrides("\n".join(problems))
    return state


def check_state(spec: AppSpec, state: Mapping[str, object]) -> JsonObject:
    """Return the state as its schema reads it, or raise StateInvalid with every problem."""
    problems, checked = _validate(spec, state, label=f"state of {spec.name}")
    if problems:
        raise StateInvalid("\n".join(problems))
    return checked


def _validate(spec: AppSpec, value: Mapping[str, object], *, label: str) -> tuple[list[str], JsonObject]:
    try:
        # By way of JSON: what is checked is what will be stored, NaN and odd types refused.
        plain = load_json(dump_json(to_jsonable_python(dict(value), inf_nan_mode="constants")))
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        return [f"{label}: not plain JSON ({error}); use texts, finite numbers, lists and mappings"], {}
    if not isinstance(plain, dict):
        return [f"{label}: expected a mapping"], {}
    schema = load_state_class(spec)
    if schema is None:
        return [], plain
    document = Document(label, plain, marks={(): Mark(label)})

    def read() -> JsonValue:
        built = schema.model_validate_json(
            dump_json(plain), extra=None if _is_open(schema, set()) else "forbid", by_alias=True, by_name=True
        )
        return load_json(dump_json(built.model_dump(mode="json")))

    try:
        dumped = call_function(read, own=(ValidationError,))
    except ValidationError as error:
        found = explain(schema, document, error.errors(include_url=False, include_input=False))
        return [str(one) for one in found], {}
    except AppCodeFailed as error:
        return [f"{label}: {spec.state_schema} raised {error}; mend the class"], {}
    return [], dumped if isinstance(dumped, dict) else {}


def _is_open(annotation: object, seen: set[object]) -> bool:
    """Say whether a model, or one within it, allows unknown keys by its own word."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        if annotation.model_config.get("extra") == "allow":
            return True
        return any(_is_open(field.annotation, seen) for field in annotation.model_fields.values())
    return any(_is_open(inner, seen) for inner in get_args(annotation))
