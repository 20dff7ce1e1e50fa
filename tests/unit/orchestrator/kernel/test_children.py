"""Waiting for children: who is still open, and when enough have ended."""

import pytest

from orchestrator.contracts.session import Cursor, Record, Wait
from orchestrator.kernel.children import fold_child, join, open_children

PARENT = Record(session_id="S-20260101-001", app="a", spec="d", phase="running", cursor=Cursor(skill="fan"))


def waits(how: str, **children: object) -> Wait:
    """Return a wait for these children."""
    return Wait.model_validate(
        {"wait_id": "w", "kind": "child", "join": how, "into": "ends", "children": {"a": None, "b": None, **children}}
    )


def test_all_children_are_waited_for() -> None:
    """The first end is kept, the last one resolves the wait."""
    one = fold_child(PARENT.model_copy(update={"wait": waits("all")}), waits("all"), "a", {"status": "done"})
    assert one.wait is not None
    two = fold_child(one, one.wait, "b", "gone")

    assert open_children(one) == ["b"]
    assert open_children(two) == []
    assert (two.wait, two.cursor.stage) == (None, "route")
    assert two.state == {"ends": {"a": {"status": "done"}, "b": {"status": "gone"}}}


def test_any_child_is_enough_where_any_is_asked_for() -> None:
    """The others go on, and nobody waits for them; with none ended, the wait goes on."""
    assert fold_child(PARENT, waits("any"), "b", {"status": "x"}).state == {"ends": {"b": {"status": "x"}}}
    assert join(PARENT, waits("any")).wait == waits("any")
    assert join(PARENT, waits("any", a={"status": "x"}).model_copy(update={"into": None})).state["children"]


@pytest.mark.parametrize("wait", [waits("all"), Wait(wait_id="w", kind="timer", children={"c": None})])
def test_a_stranger_or_another_wait_changes_nothing(wait: Wait) -> None:
    """A child that this wait does not name, or a wait for something else."""
    assert fold_child(PARENT, wait, "c", {"status": "x"}) is PARENT
