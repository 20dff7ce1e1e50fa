"""Waiting for children: who is still open, and when enough have ended."""

import pytest

from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.session import Cursor, Record, Wait
from orchestrator.contracts.skill import Supervisor
from orchestrator.kernel.children import LOOK_MS, child_items, child_key, children_wait, fold_child, join, open_children

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


FAN = Supervisor(name="fan", subordinates=("leaf",), for_each="items", into="ends", join="any", max_children=2)


def holding(**state: object) -> Record:
    """Return a parent with a state."""
    return PARENT.model_copy(update={"state": state})


def test_there_is_one_child_for_each_item() -> None:
    """As many as the skill lets there be, and none for an empty list."""
    assert child_items(FAN, holding(items=["a", {"b": 1}])) == ["a", {"b": 1}]
    assert child_items(FAN, holding(items=[])) == []


@pytest.mark.parametrize("state", [{}, {"items": "ab"}, {"items": {"a": 1}}, {"other": ["a"]}], ids=str)
def test_a_state_without_the_list_is_the_apps_mistake(state: dict[str, object]) -> None:
    """The message names the key that some earlier skill should have filled."""
    with pytest.raises(
        ConfigError, match=r"^skill fan: for_each: state key 'items' is no list; fill it before this skill$"
    ):
        child_items(FAN, holding(**state))
    with pytest.raises(ConfigError, match="state key None is no list"):
        child_items(FAN.model_copy(update={"for_each": None}), holding(**state))


def test_more_items_than_are_allowed_are_refused_all_together() -> None:
    """Half of them would look like all of them."""
    with pytest.raises(ConfigError, match=r"^skill fan: for_each: 3 items are over max_children 2$"):
        child_items(FAN, holding(items=[1, 2, 3]))


def test_a_repeated_step_makes_the_same_children() -> None:
    """The key is that of the step and of the item's place, and of nothing that a crash could change."""
    later = PARENT.model_copy(update={"cursor": PARENT.cursor.model_copy(update={"serial": 7})})

    assert child_key(PARENT, 0) == "child:S-20260101-001:0:0"
    assert len({child_key(PARENT, 0), child_key(PARENT, 1), child_key(later, 0)}) == 3


def test_the_wait_for_children_looks_at_them_itself_after_a_while() -> None:
    """A word of theirs may have been lost."""
    wait = children_wait(FAN, PARENT, ["a", "b"], 1_000)

    assert (wait.wait_id, wait.kind, wait.since_at) == ("S-20260101-001/children-0", "child", 1_000)
    assert (wait.deadline_at, wait.prompt) == (1_000 + LOOK_MS, "fan: 2 child sessions")
    assert (wait.children, wait.join, wait.into) == ({"a": None, "b": None}, "any", "ends")
