"""The reference's conformance rows that are decisions over values: F, I, C1, G, N and R.

Each row is data with its id; one that differs from its source on purpose names the ADR that says
why. Rows about the store, locks, HTTP and loading are tested where those are.
"""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from orchestrator.contracts import errors, provider_errors
from orchestrator.contracts.app import AppSpec, GatePolicy, RetryPolicy, RiskPolicy, StatusDef, TerminalRule
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.session import Post, ToolCall, Wait
from orchestrator.kernel.answers import GATE_OPTIONS, AnswerPlan, EscalateTo, Refused, Resume, Stop, plan_answer
from orchestrator.kernel.harvest import Harvest, harvest
from orchestrator.kernel.inject import SessionView, fill, strip
from orchestrator.kernel.retry import classify_failure, should_retry
from orchestrator.kernel.risk import effective_action, passes_gate, should_gate
from orchestrator.kernel.terminal import Settlement, settle, settle_escalated, settle_stopped

HERE = Path(__file__).parent
ADR = HERE.parents[1] / "docs" / "adr"
DATA: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (HERE / "rows").glob("*.yaml")
}


def each(rows: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Run a test once for each row, under the row's id."""
    return pytest.mark.parametrize("row", rows, ids=[row["id"] for row in rows])


def ended(calls: list[list[Any]]) -> list[ToolCall]:
    """Build ended calls from [tool, args, result, outcome], the last three optional."""
    full = [[*call, *[{}, None, "executed"][len(call) - 1 :]] for call in calls]
    return [
        ToolCall(call_id=str(n), tool=tool, args=args, result=result, outcome=outcome)
        for n, (tool, args, result, outcome) in enumerate(full)
    ]


def as_json(value: object) -> str:
    """Compare as JSON text: to Python 0 is False."""
    return json.dumps(value, sort_keys=True)


def settle_row(row: dict[str, Any], calls: list[ToolCall], settled_as: str | None) -> Settlement | None:
    """Settle by the row's app, with the row's own rules and statuses in place of the app's."""
    app = DATA["terminal"]["apps"][row["app"]]
    rules = row.get("rules", app.get("terminal_tools", []))
    statuses = row.get("statuses", app.get("statuses", {}))
    return settle(
        rules=[TerminalRule.model_validate(rule) for rule in rules],
        statuses={name: StatusDef.model_validate(value) for name, value in statuses.items()},
        default_status=app.get("default_terminal_status"),
        calls=calls,
        settled_as=settled_as,
    )


@each(DATA["terminal"]["rows"])
def test_a_session_ends_as_its_row_says(row: dict[str, Any]) -> None:
    """Apps rely on how their sessions end; each corner is written down once, as data."""
    settlement = settle_row(row, ended(row["calls"]), row.get("settled_as"))

    out = settlement and [settlement.status, settlement.fields, settlement.rule]
    assert as_json(out) == as_json(row["out"])


@each([row for row in DATA["terminal"]["rows"] if row["out"]])
def test_a_session_settles_once(row: dict[str, Any]) -> None:
    """Row F18: the finalizer may be delivered twice, and the second time changes nothing."""
    assert settle_row(row, ended(row["calls"]), row["out"][0]) is None


@each(DATA["harvest"]["rows"])
def test_a_turn_is_harvested_as_its_row_says(row: dict[str, Any]) -> None:
    """Gates and routes act on what a turn's calls declared."""
    spec = AppSpec(
        name="demo",
        entry_skill="first",
        skills={},
        signals=row.get("signals", ("success", "failed", "needs_input")),
        terminal_tools=(TerminalRule(tool_name="mark_done", status="ok"),),
        harvest_terminal_tools=("conclude",),
        patch_tools=("note",),
    )
    confidence, rationale, signal, locked = row.get("before", [None, None, None, False])
    before = Harvest(confidence=confidence, rationale=rationale, signal=signal, locked=locked)

    after = harvest(before, ended(row["calls"]), spec)

    assert [after.confidence, after.rationale, after.signal, after.locked] == row["out"]


@each(DATA["gates"]["G1"])
def test_a_confidence_passes_the_gate_or_not(row: dict[str, Any]) -> None:
    """Row G1: only a number that is not below the threshold goes on without a person."""
    assert passes_gate(row["confidence"], 0.75) is row["out"]


@each(DATA["gates"]["G2"])
def test_a_tool_has_the_action_of_its_row(row: dict[str, Any]) -> None:
    """Row G2: the policy decides what runs by itself, and production only makes it stricter."""
    gateway = None if row["gateway"] is None else RiskPolicy.model_validate(row["gateway"])

    assert effective_action(row["tool"], row.get("environment"), gateway) == row["out"]


@each(DATA["gates"]["G3"])
def test_a_call_is_gated_as_its_row_says(row: dict[str, Any]) -> None:
    """Row G3: risk, then environment, then confidence stop a call."""
    action = effective_action("x", row["environment"], RiskPolicy(policy={"x": row["risk"]}))

    assert list(should_gate(action, row["environment"], row["confidence"], GatePolicy())) == row["out"]


class Shape(BaseModel):
    """Something that does not validate."""

    number: int


def raised(name: str | None, text: str) -> BaseException | None:
    """Build the error that a row names."""
    if name is None:
        return None
    if name == "ValidationError":
        with pytest.raises(ValidationError) as caught:
            Shape.model_validate({})
        return caught.value
    homes = (errors, provider_errors, builtins)
    error_class: type[BaseException] = next(getattr(home, name) for home in homes if hasattr(home, name))
    return error_class(text)


@each(DATA["gates"]["G4"])
def test_a_failure_is_retried_as_its_row_says(row: dict[str, Any]) -> None:
    """Row G4: what passes by itself is tried again, within the cap; the rest is not."""
    kind = classify_failure(raised(row["error"], row.get("text", "it failed")))
    policy = RetryPolicy.model_validate(row.get("policy", {}))

    decision = should_retry(kind, retries_done=row["n"], confidence=row.get("confidence"), policy=policy)

    assert list(decision) == row["out"]


def plan_to_row(plan: AnswerPlan, expected: list[Any]) -> list[Any]:
    """Write a plan as a row does; of a refusal, the expected part of its reason."""
    match plan:
        case Resume(text=text):
            return ["resume", text]
        case Stop():
            return ["stop"]
        case EscalateTo(team=team):
            return ["escalate", team]
        case Refused(reason=reason):
            part = expected[1] if len(expected) > 1 else None
            return ["refused", part if isinstance(part, str) and part in reason else reason]


@each(DATA["answers"]["rows"])
def test_an_answer_to_a_gate_does_what_its_row_says(row: dict[str, Any]) -> None:
    """Rows R: stop, escalate and resume do just that, and what is not understood changes nothing."""
    spec = AppSpec.model_validate(
        {"name": "demo", "entry_skill": "first", "skills": {}, **DATA["answers"]["app"], **row.get("app", {})}
    )
    wait = Wait.model_validate({"wait_id": "w1", "kind": "input", "options": GATE_OPTIONS, **row.get("wait", {})})
    post = Post.model_validate({"post_id": "p1", "actor": "al", "wait_id": "w1", **row["post"]})

    plan = plan_answer(spec, wait, post)

    assert plan_to_row(plan, row["out"]) == row["out"]
    if "ends" in row:
        settled_as = row.get("settled_as")
        settlement = (
            settle_escalated(spec, plan.team, settled_as)
            if isinstance(plan, EscalateTo)
            else settle_stopped(spec, settled_as)
        )
        assert (settlement and [settlement.status, settlement.fields]) == row["ends"]


VIEW = SessionView(id="S-1", text="asked", state={"env": "prod", "at": {"zone": 3}, "none": None})


@each(DATA["injected"]["rows"])
def test_arguments_are_injected_as_the_row_says(row: dict[str, Any]) -> None:
    """Row N1: a model cannot choose what the runtime fills in, nor see that it exists."""
    before = dict(row["args"])

    if "error" in row:
        with pytest.raises(ConfigError, match=row["error"]):
            fill(row["args"], row["injected"], VIEW, {"sid", "env", "q"})
        return
    out, notes = fill(row["args"], row["injected"], VIEW, {"sid", "env", "q"})

    assert (out, [[note.arg, note.kind] for note in notes]) == (row["out"], row["notes"])
    assert row["args"] == before


def test_stripping_twice_is_stripping_once_and_leaves_the_schema_alone() -> None:
    """Row N1: the catalogue is shared, so that one session's view must not change another's."""
    schema: JsonObject = {
        "type": "object",
        "properties": {"sid": {"type": "string"}, "q": {}},
        "required": ["sid", "q"],
    }
    before = json.dumps(schema)

    once = strip(schema, {"sid": "session.id"})

    assert once == {"type": "object", "properties": {"q": {}}, "required": ["q"]}
    assert strip(once, {"sid": "session.id"}) == once
    assert json.dumps(schema) == before


def all_rows(data: Any) -> list[dict[str, Any]]:
    """Return every row of every file."""
    if isinstance(data, list):
        return [row for row in data if isinstance(row, dict) and "id" in row]
    return [row for value in data.values() for row in all_rows(value)] if isinstance(data, dict) else []


ROWS = all_rows(DATA)


def test_row_ids_are_unique() -> None:
    """A row is spoken of by its id."""
    ids = [row["id"] for row in ROWS]

    assert len(ids) == len(set(ids))


@each([row for row in ROWS if "deviation" in row])
def test_a_deviation_has_its_adr(row: dict[str, Any]) -> None:
    """Whoever finds a difference from the source finds the reason too."""
    number, _, why = row["deviation"].partition(": ")

    assert why
    assert len(list(ADR.glob(f"{number}-*.md"))) == 1
