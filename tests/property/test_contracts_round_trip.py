"""Every contract survives JSON: what one process writes, another reads as the same value, or refuses as a whole."""

import json
from importlib import import_module
from pkgutil import iter_modules

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator import contracts
from orchestrator.contracts.base import Frozen, Shared, dump_json, load_json
from orchestrator.contracts.session import Cursor, Entry, Post, Record
from tests.property.shapes import JSON, OBJECT, values_of


def every_contract() -> list[type[Frozen]]:
    """Return every shape that is declared under contracts/."""
    found: set[type[Frozen]] = set()
    for module in iter_modules(contracts.__path__):
        name = f"{contracts.__name__}.{module.name}"
        values = vars(import_module(name)).values()
        found |= {one for one in values if isinstance(one, type) and issubclass(one, Frozen) and one.__module__ == name}
    return sorted(found - {Frozen}, key=lambda one: one.__name__)


#: Read from a file and never written: what they hold back, a secret, would not come again.
ONLY_READ = {"Endpoint", "WebhooksFile"}

quick = settings(settings.get_profile("ci"), max_examples=25)


@pytest.mark.parametrize("shape", every_contract(), ids=lambda one: one.__name__)
def test_a_value_is_read_as_it_was_written(shape: type[Frozen]) -> None:
    """Defaults are left out when a value is written; that must not change what is read."""
    # No skill is only a SkillBase: its kinds are tested one by one.
    if shape.__name__ in {"SkillBase", *ONLY_READ}:
        return

    @quick
    @given(values_of(shape))
    def check(value: Frozen) -> None:
        again = shape.from_json(value.to_json())

        assert again == value
        assert again.to_json() == value.to_json()

    check()


@pytest.mark.parametrize("shape", every_contract(), ids=lambda one: one.__name__)
def test_a_field_that_nobody_declared_is_refused(shape: type[Frozen]) -> None:
    """A newer process wrote something that this one would lose: better not to read it at all, but for what is only told."""
    assert shape.model_config.get("extra") == ("ignore" if issubclass(shape, Shared) else "forbid")
    assert shape.model_config.get("frozen") is True
    if issubclass(shape, Shared):
        return
    with pytest.raises(ValidationError):
        shape.from_json('{"nobody_declared_this": 1}')


def test_all_contracts_are_found() -> None:
    """An empty list would prove nothing."""
    assert {Record, Cursor, Post, Entry} <= set(every_contract())
    assert len(every_contract()) > 25


@quick
@given(JSON)
def test_plain_data_is_read_as_it_was_written(value: object) -> None:
    """State, arguments and results are plain JSON: numbers, texts and nulls come back as they were."""
    assert load_json(dump_json(value)) == value
    assert json.loads(dump_json(value)) == value


@quick
@given(values_of(Cursor), OBJECT, st.text(max_size=10))
def test_a_copy_with_changes_is_a_value_like_any_other(cursor: Cursor, state: dict[str, object], text: str) -> None:
    """Copies are made at every step, by a way of our own; they must be equal to what validation would have made."""
    made = Record(session_id="S-20260101-001", app="a", spec="d", phase="ready", cursor=cursor)

    copied = made.model_copy(update={"state": state, "text": text})

    expected = Record.model_validate(
        {
            "session_id": made.session_id,
            "app": "a",
            "spec": "d",
            "phase": "ready",
            "cursor": cursor,
            "state": state,
            "text": text,
        }
    )
    assert copied == expected
    assert Record.from_json(copied.to_json()) == copied
    assert made.state == {}
