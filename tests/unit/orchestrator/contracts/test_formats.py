"""The number of the shapes in which sessions are stored: it grows with them, or an older Baton buries what it cannot read."""

import json
from hashlib import sha256

import pytest

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.formats import FORMAT, SHAPES
from orchestrator.store.fleet import WorkerInfo

#: What each format looks like: of every shape its JSON Schema, without words for people.
DIGESTS = {1: "da95e19f7cfe78d5", 2: "7e521750c1d5ba78"}


def strip(schema: object) -> object:
    """Return a schema without its titles and descriptions."""
    if isinstance(schema, dict):
        return {
            key: strip(value)
            for key, value in schema.items()
            if not (key in {"title", "description"} and isinstance(value, str))
        }
    return [strip(one) for one in schema] if isinstance(schema, list) else schema


def test_a_change_of_what_is_stored_is_another_format() -> None:
    """Fails with every change of a stored shape: raise FORMAT, and give it its digest here; leave the older ones as they are."""
    shapes: JsonObject = {shape.__name__: strip(shape.model_json_schema()) for shape in SHAPES}  # type: ignore[misc]

    assert sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16] == DIGESTS[FORMAT]
    assert max(DIGESTS) == FORMAT


def test_words_of_a_newer_process_are_read_without_what_is_new() -> None:
    """A scheduler that is one version behind still counts the slots of the workers before it."""
    told = json.loads(WorkerInfo(name="w", slots=3).to_json()) | {"mood": "fine"}

    assert WorkerInfo.from_json(json.dumps(told)) == WorkerInfo(name="w", slots=3)
    with pytest.raises(ValueError, match="slots"):
        WorkerInfo.from_json('{"name": "w", "slots": "many"}')
