"""Decide what an answer to a gate means: go on, stop, escalate, or refused.

A confidence gate leaves a session waiting with the options that it offers. This module reads one
post against that wait; who performs the plan is the executor, and how a session that was
stopped or handed over then ends is decided in terminal.py. Pure. A refusal changes nothing: the
wait goes on.
"""

from typing import Final, Literal, TypeAlias, assert_never

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import suggest
from orchestrator.contracts.session import Post, Wait
from orchestrator.kernel.approval import is_on_roster

GateOption: TypeAlias = Literal["resume_with_input", "escalate", "stop"]

#: What a gate offers, in the order in which a person is shown it.
GATE_OPTIONS: Final[tuple[GateOption, ...]] = ("resume_with_input", "escalate", "stop")


class Resume(Frozen):
    """Go on to the gate's target with what the person said: text, or a value, or both."""

    text: str
    value: JsonValue = None


class Stop(Frozen):
    """End the session's work now."""


class EscalateTo(Frozen):
    """Hand the session to a team by the app's escalation tool; None where no team is known."""

    team: str | None


class Refused(Frozen):
    """Nothing changes; `reason` tells the sender what to do instead."""

    reason: str


AnswerPlan: TypeAlias = Resume | Stop | EscalateTo | Refused


def plan_answer(spec: AppSpec, wait: Wait, post: Post) -> AnswerPlan:
    """Return what a post does to a session that waits at a gate.

    A cancel always stops. An input resumes, an escalate post escalates, and a decision names one of
    the options as its verdict, exactly as it is offered. An input and a decision name their wait. A
    wait without options is a plain question, which only an input answers.
    """
    if post.kind == "cancel":
        return Stop()
    where = f"wait {wait.wait_id}"
    if post.wait_id != wait.wait_id and not (post.kind == "escalate" and post.wait_id is None):
        return Refused(
            reason=f"{where}: the answer is for {post.wait_id or 'no wait'}; answer what the session asks now"
        )
    if not is_on_roster(post.actor, wait.roster):
        return Refused(reason=f"{where}: {post.actor!r} may not answer; ask one of {', '.join(wait.roster)}")
    option = _choose_option(wait, post)
    match option:
        case None:
            hint = suggest(post.verdict or "", _offered(wait))
            return Refused(reason=f"{where}: unknown action {post.verdict or post.kind!r}; {hint}")
        case "stop":
            return Stop()
        case "escalate":
            return _plan_escalation(spec, wait, post, where)
        case "resume_with_input":
            if _is_blank(post):
                return Refused(reason=f"{where}: the input is blank; say what the session should go on with")
            return Resume(text=post.text, value=post.value)
        case _:
            assert_never(option)


def _choose_option(wait: Wait, post: Post) -> GateOption | None:
    """Return the option that a post takes, or None if it takes none that is offered."""
    offered = _offered(wait)
    said = {"input": "resume_with_input", "escalate": "escalate", "decision": post.verdict}.get(post.kind)
    return next((option for option in GATE_OPTIONS if option == said and option in offered), None)


def _offered(wait: Wait) -> tuple[str, ...]:
    return wait.options or ("resume_with_input",)


def _is_blank(post: Post) -> bool:
    """Text of nothing but space says nothing, whichever field it came in."""
    is_empty_value = post.value is None or (isinstance(post.value, str) and not post.value.strip())
    return not post.text.strip() and is_empty_value


def _plan_escalation(spec: AppSpec, wait: Wait, post: Post, where: str) -> AnswerPlan:
    """Take the given team, else the app's default one; either has to be on the roster of teams."""
    team = post.team or spec.escalate_action_default_team
    teams = wait.teams or spec.escalation_teams
    if team is not None and teams and team not in teams:
        return Refused(reason=f"{where}: team {team!r} is not in the app's escalation_teams; {suggest(team, teams)}")
    return EscalateTo(team=team)
