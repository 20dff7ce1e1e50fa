"""Decide whether a tool call runs at once, leaves a notice, or waits for a person.

Three things are asked in turn, and each can only tighten what came before: the tool's risk by the
app's policy, the overrides of production environments, and the gate on environment and confidence.
The gate between two skills is here too. Pure; asking the person is a wait, and what an answer
grants is decided in approval.py.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec, GatePolicy, Risk, RiskPolicy
from orchestrator.contracts.base import Frozen
from orchestrator.kernel.lookup import name_suffixes

Action: TypeAlias = Literal["auto", "notify", "approve"]
GateReason: TypeAlias = Literal["auto", "high_risk_tool", "gated_env", "low_confidence"]

_ACTIONS: dict[Risk, Action] = {"low": "auto", "medium": "notify", "high": "approve"}
#: The state key that says where a session acts. One key for every app, so that gating works.
ENVIRONMENT_KEY = "environment"


class Gate(NamedTuple):
    """Whether a call is stopped for a person, and why."""

    gate: bool
    reason: GateReason


class ActionDecision(Frozen):
    """What happens with a call. `risk` is None where the app has no policy at all."""

    action: Action
    risk: Risk | None
    reason: GateReason


def environment_of(state: Mapping[str, JsonValue]) -> str | None:
    """Return the environment that a session's state names, or None."""
    value = state.get(ENVIRONMENT_KEY)
    return value if isinstance(value, str) and value.strip() else None


def rate_risk(tool: str, environment: str | None, gateway: RiskPolicy | None) -> Risk | None:
    """Return a tool's risk there: by its most qualified name in the policy, else the policy's default.

    In a production environment a tool that an override names, by full or shorter name, is high.
    """
    if gateway is None:
        return None
    names = name_suffixes(tool)
    overrides = gateway.prod_overrides
    if _is_among(environment, overrides.prod_environments) and any(
        fnmatchcase(name, glob) for glob in overrides.resolution_trigger_tools for name in names
    ):
        return "high"
    return next((gateway.policy[name] for name in names if name in gateway.policy), gateway.default)


def effective_action(tool: str, environment: str | None, gateway: RiskPolicy | None) -> Action:
    """Return what an app's policy alone does with a tool: low runs, medium notifies, high asks.

    >>> policy = RiskPolicy(policy={"x": "high", "rem:x": "low"})
    >>> effective_action("rem:x", None, policy), effective_action("x", None, policy)
    ('auto', 'approve')
    """
    risk = rate_risk(tool, environment, gateway)
    return "auto" if risk is None else _ACTIONS[risk]


def should_gate(action: Action, environment: str | None, confidence: float | None, policy: GatePolicy) -> Gate:
    """Say whether a call with this action is stopped for a person.

    A confidence that nobody gave stops nothing, one below the threshold stops what is not `auto`.
    """
    if action in policy.gated_risk_actions:
        return Gate(gate=True, reason="high_risk_tool")
    if action == "auto":
        return Gate(gate=False, reason="auto")
    if _is_among(environment, policy.gated_environments):
        return Gate(gate=True, reason="gated_env")
    if confidence is not None and not passes_gate(confidence, policy.confidence_threshold):
        return Gate(gate=True, reason="low_confidence")
    return Gate(gate=False, reason="auto")


def decide_action(spec: AppSpec, tool: str, environment: str | None, confidence: float | None) -> ActionDecision:
    """Return what happens with a call: the policy's action, made stricter where the gate says so.

    A tool that the policy calls high always waits for a person, whatever `gated_risk_actions` says. An environment that is
    not among those that the app declares counts as production, and as gated: a typing error must not open a gate.
    """
    production = spec.gateway.prod_overrides.prod_environments if spec.gateway is not None else ()
    rated = _counts_as(environment, spec.environments, production)
    risk = rate_risk(tool, rated, spec.gateway)
    action = effective_action(tool, rated, spec.gateway)
    gated = _counts_as(environment, spec.environments, spec.gate_policy.gated_environments)
    stopped = should_gate(action, gated, confidence, spec.gate_policy)
    if stopped.gate:
        return ActionDecision(action="approve", risk=risk, reason=stopped.reason)
    return ActionDecision(action=action, risk=risk, reason="high_risk_tool" if action == "approve" else "auto")


def passes_gate(confidence: object, threshold: float) -> bool:
    """Say whether a confidence is a number and not below the threshold; anything else stops.

    >>> [passes_gate(c, 0.75) for c in (0.9, 0.75, 0.42, None, "low", True)]
    [True, True, False, False, False, False]
    """
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        return False
    return confidence >= threshold  # NaN is not: every comparison with it is false


def _counts_as(environment: str | None, known: Sequence[str], strict: Sequence[str]) -> str | None:
    """Return an environment as it is, one of the strict ones where the app declares environments and not this one."""
    if environment is None or not known or not strict or _is_among(environment, known):
        return environment
    return strict[0]


def _is_among(environment: str | None, gated: Sequence[str]) -> bool:
    """Compare without case and outer space: a spelling must not be a way around a gate."""
    return environment is not None and environment.strip().lower() in {name.strip().lower() for name in gated}
