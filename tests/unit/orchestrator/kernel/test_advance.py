"""Leaving a skill: the route by its signal, the gate before it, and what goes with it."""

from functools import cache

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.session import Cursor, Record
from orchestrator.kernel.advance import current_skill, leave

NOW = 5_000


@cache
def spec() -> AppSpec:
    """Return an app whose first skill ends, goes on, or goes on past a gate."""
    routes = [
        {"when": "done", "next": "__end__"},
        {"when": "sure", "next": "rest", "gate": "confidence"},
        {"when": "default", "next": "rest"},
    ]
    skill = {"kind": "timer", "name": "work", "seconds": 1, "routes": routes}
    rest = {"kind": "timer", "name": "rest", "seconds": 1, "routes": [{"when": "default", "next": "__end__"}]}
    return AppSpec.model_validate(
        {
            "name": "sample",
            "entry_skill": "work",
            "signals": ["done", "sure"],
            "escalation_teams": ["night"],
            "confidence_threshold": 0.75,
            "skills": {"work": skill, "rest": rest},
        }
    )


def at(skill: str = "work", **cursor: object) -> Record:
    """Return a session in a skill."""
    place = Cursor.model_validate({"skill": skill, "serial": 4, "turn": 2, "failures": 1, **cursor})
    return Record(session_id="S-1", app="sample", spec="d", phase="running", cursor=place, state={"n": 1})


def test_a_skill_that_this_version_lacks_is_named_with_its_nearest() -> None:
    """A deploy may have renamed it while sessions were in it."""
    with pytest.raises(ConfigError, match=r"^app sample: has no skill 'wrok'; did you mean 'work'\?$"):
        current_skill(spec(), at("wrok"))


def test_a_new_skill_begins_with_nothing_of_the_old_one() -> None:
    """Turns, tries, confidence and signal belong to one agent; signals that came early, and the depth, to the session."""
    before = at(confidence=0.9, rationale="seen", signal="sure", signals=("go",), depth=2, locked=True)
    change = leave(spec(), before, "wait", NOW, "other", state={"n": 2})

    assert change.record.cursor == Cursor(skill="rest", serial=5, signals=("go",), depth=2)
    assert (change.record.state, change.directive, change.step) == ({"n": 2}, "continue", "wait")
    assert leave(spec(), before, "wait", NOW, "other").record.state == {"n": 1}


def test_the_end_keeps_the_signal_and_the_state_that_led_there() -> None:
    """The finaliser and people read why it ended; a try that failed before is over."""
    change = leave(spec(), at(), "wait", NOW, "done", state={"n": 3}, reason="because")

    assert (change.directive, change.reason) == ("finalizing", "because")
    assert (change.record.cursor.stage, change.record.cursor.signal, change.record.cursor.failures) == (
        "end",
        "done",
        0,
    )
    assert change.record.state == {"n": 3}


def test_without_a_signal_of_its_own_a_step_goes_where_what_was_said_before_leads() -> None:
    """An agent says it in one turn, and leaves in a later one."""
    assert leave(spec(), at(signal="done"), "wait", NOW).directive == "finalizing"
    assert leave(spec(), at(signal="done"), "wait", NOW).record.cursor.failures == 1


@pytest.mark.parametrize(("confidence", "said"), [(None, "none"), (0.5, "0.50")])
def test_a_gate_that_is_shut_asks_a_person_and_keeps_the_way(confidence: float | None, said: str) -> None:
    """Whoever answers sees how sure the agent was, and where it would have gone."""
    before = at(confidence=confidence, rationale="thin")
    change = leave(spec(), before, "wait", NOW, "sure", state={"n": 9}, data={"a": 1})
    wait = change.record.wait

    assert wait is not None
    assert wait.wait_id.startswith("S-1/gate-4-")
    assert (wait.target, wait.since_at, wait.gate) == ("rest", NOW, True)
    assert wait.prompt == f"work: confidence {said} is below 0.75. thin"
    assert (wait.teams, wait.options) == (("night",), ("resume_with_input", "escalate", "stop"))
    assert (change.directive, change.data, change.record.state) == ("waiting", {"a": 1}, {"n": 9})
    assert (change.record.cursor.stage, change.record.cursor.signal) == ("route", "sure")


@pytest.mark.parametrize("confidence", [0.75, 1.0])
def test_a_gate_opens_at_its_threshold(confidence: float) -> None:
    """As sure as is asked for is sure enough."""
    assert leave(spec(), at(confidence=confidence), "wait", NOW, "sure").record.cursor.skill == "rest"
