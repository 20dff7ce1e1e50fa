"""The list of events, and its older names."""

import pytest

from orchestrator.contracts import event_names
from orchestrator.contracts.event_names import ALL_EVENTS, OLDER_NAMES, canonical_event

CONSTANTS = {name: value for name, value in vars(event_names).items() if name.isupper() and isinstance(value, str)}


def test_the_list_has_forty_two_names_each_once() -> None:
    """Others compare their list with this one."""
    assert len(ALL_EVENTS) == len(set(ALL_EVENTS)) == 42
    assert (ALL_EVENTS[0], ALL_EVENTS[-1]) == ("session:start", "module:on_session_ready_failed")


def test_a_constant_is_named_after_its_event() -> None:
    """Whoever knows the event knows the constant."""
    assert {name: value.upper().replace(":", "_") for name, value in CONSTANTS.items()} == {n: n for n in CONSTANTS}


def test_every_constant_is_in_the_list_or_outside_it_on_purpose() -> None:
    """An event that is forgotten in the list is never shown to those who subscribe to all."""
    assert set(CONSTANTS.values()) - set(ALL_EVENTS) == {"session:config", "module:load_failed"}
    assert set(ALL_EVENTS) <= set(CONSTANTS.values())


@pytest.mark.parametrize(("older", "name"), sorted(OLDER_NAMES.items()))
def test_an_older_name_leads_to_one_that_is_sent(older: str, name: str) -> None:
    """A hook written after the older table listens to what is really sent."""
    assert older not in ALL_EVENTS
    assert canonical_event(older) == name
    assert canonical_event(name) == name
    assert name in ALL_EVENTS
