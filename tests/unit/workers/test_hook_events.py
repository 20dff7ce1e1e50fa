"""What hooks are told after a step that ran a plugin: each file that it published, and the rule that it broke."""

import asyncio
from typing import Any

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.hooks import HookSpec
from orchestrator.contracts.session import Cursor, Record
from orchestrator.kernel.change import Change
from workers.hooks import build_book
from workers.steps.hook_events import tell_after, tell_before
from workers.steps.hook_run import begin_hooks

SPEC = AppSpec.model_validate(
    {"name": "a", "entry_skill": "s", "skills": {"s": {"kind": "timer", "name": "s", "seconds": 1}}}
)
RECORD = Record(session_id="S-1", app="a", spec="d", phase="running", cursor=Cursor(skill="s"))
FILES = [{"path": "a.txt", "kind": "created", "summary": "+1"}, {"path": "b.txt", "kind": "deleted", "summary": "-1"}]


def tell(*events: str, **data: Any) -> tuple[list[tuple[str, dict[str, Any]]], Change]:
    """Tell a plugin's step to hooks that listen to these events; return what they heard, and the change."""
    heard: list[tuple[str, dict[str, Any]]] = []

    async def listener(event: str, given: dict[str, Any]) -> None:
        common = {"session_id", "parent_id", "timestamp"}
        heard.append((event, {key: value for key, value in given.items() if key not in common}))

    spec = SPEC.model_copy(update={"hooks": tuple(HookSpec(call="m:f", event=event) for event in events)})
    run = begin_hooks(build_book(spec, lambda _: listener), spec, RECORD, RECORD, lambda: 0)
    assert run is not None

    async def step() -> Change:
        await tell_before(run, RECORD)
        return await tell_after(run, Change(record=RECORD, step="plugin_pass", data=data))

    return heard, asyncio.run(step())


def test_each_published_file_is_told() -> None:
    """With the plugin that made it: who watches artifacts need not read the journal."""
    heard, _ = tell("artifact:write", plugin={"plugin": "fmt", "status": "success"}, changes=FILES)

    assert heard == [("artifact:write", {"plugin": "fmt", **one}) for one in FILES]


@pytest.mark.parametrize("status", ["failed", "policy_violation"])
def test_what_was_not_published_is_not_told_as_written(status: str) -> None:
    """A plugin that failed has changed nothing."""
    heard, _ = tell("artifact:write", plugin={"plugin": "fmt", "status": status}, changes=FILES)

    assert heard == []


@pytest.mark.parametrize(("entry", "reason"), [({"error": "it called out"}, "it called out"), ({}, "policy_violation")])
def test_a_broken_rule_is_told(entry: dict[str, str], reason: str) -> None:
    """The same event as for what hooks deny: one place to watch."""
    heard, _ = tell("policy:violation", plugin={"plugin": "fmt", "status": "policy_violation", **entry})

    assert heard == [("policy:violation", {"plugin": "fmt", "reason": reason})]


def test_who_listens_to_something_else_costs_the_session_one_flag() -> None:
    """That session:start was told; nothing is said in the journal of hooks that were not called."""
    heard, change = tell("tool:pre", plugin={"plugin": "fmt", "status": "success"}, changes=FILES)

    assert heard == []
    assert "hooks" not in change.data
    assert change.record.hooks is not None
    assert change.record.hooks.model_dump(exclude_defaults=True) == {"started": True}
