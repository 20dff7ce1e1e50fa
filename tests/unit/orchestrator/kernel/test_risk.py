"""What happens with a call, all things taken together."""

import pytest
from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.kernel.risk import ActionDecision, decide_action, environment_of, should_gate

POLICY = {
    "policy": {"look": "low", "note": "medium", "act": "high"},
    "prod_overrides": {"resolution_trigger_tools": ["no*"]},
}


def app(**fields: object) -> AppSpec:
    """Build an app with a policy."""
    return AppSpec.model_validate({"name": "demo", "entry_skill": "first", "skills": {}, "gateway": POLICY, **fields})


@pytest.mark.parametrize(
    ("tool", "environment", "confidence", "decision"),
    [
        ("srv:look", "production", 0.1, ("auto", "low", "auto")),
        ("srv:note", "dev", 0.9, ("notify", "medium", "auto")),
        ("srv:note", "dev", None, ("notify", "medium", "auto")),
        ("srv:note", "dev", 0.1, ("approve", "medium", "low_confidence")),
        ("srv:note", "production", 0.9, ("approve", "high", "high_risk_tool")),
        ("srv:act", "dev", 0.9, ("approve", "high", "high_risk_tool")),
        ("srv:act", None, None, ("approve", "high", "high_risk_tool")),
        ("srv:unlisted", "production", 0.1, ("auto", "low", "auto")),
    ],
)
def test_the_strictest_word_decides(
    tool: str, environment: str | None, confidence: float | None, decision: tuple[str, str, str]
) -> None:
    """Risk, environment and confidence can each stop a call; none can let one through that another stops."""
    decided = decide_action(app(), tool, environment, confidence)

    assert (decided.action, decided.risk, decided.reason) == decision


@pytest.mark.parametrize(
    ("environment", "risk", "action"),
    [
        ("dev", "medium", "notify"),
        (" DEV ", "medium", "notify"),
        ("production", "high", "approve"),
        ("prodution", "high", "approve"),
        ("prod\u200b", "high", "approve"),
        (None, "medium", "notify"),
    ],
)
def test_an_environment_that_the_app_does_not_declare_is_as_strict_as_production(
    environment: str | None, risk: str, action: str
) -> None:
    """A typing error in what a caller submits must not switch the approvals of production off."""
    decided = decide_action(app(environments=["dev", "production"]), "srv:note", environment, 0.9)

    assert (decided.risk, decided.action) == (risk, action)


@pytest.mark.parametrize(("environment", "action"), [("dev", "notify"), ("live", "approve"), ("liev", "approve")])
def test_a_gate_of_environments_is_closed_for_one_that_nobody_declared(environment: str, action: str) -> None:
    """The gate's own list counts, whatever counts as production."""
    gated = app(
        environments=["dev", "live"], gate_policy={"gated_environments": ["live"]}, gateway={"default": "medium"}
    )

    assert decide_action(gated, "srv:note", environment, 0.9).action == action


def test_an_app_without_a_policy_asks_nobody() -> None:
    """Risk is the app's word; without one there is none to record."""
    decided = decide_action(app(gateway=None), "srv:act", "production", 0.1)

    assert decided == ActionDecision(action="auto", risk=None, reason="auto")


def test_a_gate_policy_cannot_loosen_a_high_risk() -> None:
    """A list that somebody left empty must not switch the approvals off."""
    decided = decide_action(app(gate_policy={"gated_risk_actions": []}), "act", "dev", 0.9)

    assert (decided.action, decided.reason) == ("approve", "high_risk_tool")


def test_an_app_may_gate_even_what_runs_by_itself() -> None:
    """`gated_risk_actions` may name every action."""
    decided = decide_action(app(gate_policy={"gated_risk_actions": ["auto"]}), "look", "dev", 0.9)

    assert (decided.action, decided.risk) == ("approve", "low")


def test_a_confidence_that_is_no_number_stops_a_call() -> None:
    """NaN is not below anything, and still no reason to go on."""
    assert should_gate("notify", None, float("nan"), app().gate_policy).reason == "low_confidence"


@pytest.mark.parametrize(
    ("state", "environment"),
    [
        ({"environment": "production"}, "production"),
        ({}, None),
        ({"environment": " "}, None),
        ({"environment": 3}, None),
    ],
)
def test_the_environment_is_read_from_the_state(state: dict[str, JsonValue], environment: str | None) -> None:
    """Gates that read another place than apps write to would be there and never apply."""
    assert environment_of(state) == environment
