"""What the demo says to a plugin's question, and what it prints of plugins' runs."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from pydantic import JsonValue

from orchestrator.client import Client
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.plugins import PromptField
from orchestrator.contracts.session import Cursor, Record, Wait
from orchestrator.interfaces.cli.demo_answers import Mode, answer
from orchestrator.interfaces.cli.demo_plugins import PluginRow, fold_runs, make_plugin_table

UNIT = PromptField(id="unit", type="choice", choices=("mm", "in"), default="mm")
NOTE = PromptField(id="note", required=False)
ROWS = PromptField(id="rows", type="integer")


class Posts:
    """A client that keeps what is answered."""

    def __init__(self) -> None:
        self.made: list[Mapping[str, Any]] = []

    async def answer(self, session_id: str, *, actor: str, value: JsonValue = None, verdict: str | None = None) -> None:
        self.made.append({"actor": actor, "value": value, "verdict": verdict})


def say(mode: Mode, *fields: PromptField) -> tuple[Mapping[str, Any], str]:
    """Return what is answered to these fields, and what a person reads of it."""
    wait = Wait(wait_id="w", kind="input", prompt="p: why", prompt_id="p", fields=fields, options=("stop",))
    record = Record(
        session_id="SES-20260102-001", app="a", spec="0", phase="waiting", cursor=Cursor(skill="s"), wait=wait
    )
    posts, lines = Posts(), list[str]()
    asyncio.run(answer(cast("Client", posts), record, "ada", mode, lines.append))
    (made,) = posts.made
    return made, "\n".join(lines)


def test_yes_answers_by_the_defaults_that_are_declared() -> None:
    """A field that may be left out needs none."""
    made, told = say("yes", UNIT, NOTE)

    assert made == {"actor": "ada", "value": {"unit": "mm"}, "verdict": None}
    assert "answered by its defaults as ada: unit = mm" in told


@pytest.mark.parametrize(
    ("mode", "fields", "why"),
    [("yes", (UNIT, ROWS), "it declares no default"), ("deny", (UNIT,), "nobody could be asked")],
)
def test_what_cannot_be_answered_stops_the_pass(mode: Mode, fields: tuple[PromptField, ...], why: str) -> None:
    """The app says what follows; nothing is made up."""
    made, told = say(mode, *fields)

    assert made["verdict"] == "stop"
    assert why in told


def run(plugin: str, status: str = "success", *paths: str, **more: JsonValue) -> JsonObject:
    """Return a run as the journal has it."""
    isolation: JsonObject = {"duration_ms": 20 + len(paths), "peak_memory_mb": 21.5 + len(paths), "tier": "strict"}
    entry: JsonObject = {"plugin": plugin, "status": status, "isolation": isolation, **more}
    logs: list[JsonValue] = [{"level": "INFO", "message": "done", "context": {"file": "a", "n": 1}}]
    return {"entry": entry, "changes": [{"kind": "modify", "path": path} for path in paths], "logs": logs}


def test_runs_of_one_plugin_are_one_row() -> None:
    """What it used most, and in the middle; a failure's reason stands among what it changed."""
    rows = fold_runs([run("b", "success", "x", "y"), run("a"), run("b", "failed", error="bad file")])

    assert list(rows) == ["b", "a"]
    assert rows["b"] == PluginRow(
        runs=2,
        statuses={"success": 1, "failed": 1},
        changes=["modify x", "modify y", "bad file"],
        said=["done: file a · n 1", "done: file a · n 1"],
        tiers={"strict"},
        memory_mb=23.5,
        milliseconds=[22, 20],
    )


def test_a_run_that_never_was_has_no_tier() -> None:
    """A question that nobody answered, a plugin that was refused."""
    table = make_plugin_table([{"entry": {"plugin": "p", "status": "failed", "isolation": {"tier": None}}}])

    assert [next(iter(column.cells)) for column in table.columns][:5] == ["p", "failed", "none", "0 MB", "0 ms"]
