"""Decide what follows when a skill has done its work: the next skill, a gate, or the end.

Pure. The signal chooses the route, the gate asks for confidence; entering the next skill starts
with a clean turn counter and no confidence, because those belong to one agent's activation.
"""

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, suggest
from orchestrator.contracts.session import Cursor, Record, StepKind, Wait
from orchestrator.contracts.skill import END, Skill
from orchestrator.kernel.answers import GATE_OPTIONS
from orchestrator.kernel.change import Change, finish, suspend
from orchestrator.kernel.risk import passes_gate
from orchestrator.kernel.routes import choose_route

#: A cursor of nothing but defaults: a copy costs half of what validating a new one does.
_BEGINNING = Cursor(skill="_")


def current_skill(spec: AppSpec, record: Record) -> Skill:
    """Return the skill that a session is in; raise ConfigError where this version lacks it."""
    name = record.cursor.skill
    skill = spec.skills.get(name)
    if skill is None:
        raise ConfigError(f"app {spec.name}: has no skill {name!r}; {suggest(name, spec.skills)}")
    return skill


def enter(record: Record, skill: str, *, depth: int | None = None, serial: int | None = None) -> Cursor:
    """Return the cursor at the beginning of a skill."""
    cursor = record.cursor
    return _BEGINNING.model_copy(
        update={
            "skill": skill,
            "serial": cursor.serial if serial is None else serial,
            "depth": cursor.depth if depth is None else depth,
            "signals": cursor.signals,
        }
    )


def leave(
    spec: AppSpec,
    record: Record,
    step: StepKind,
    now: int,
    signal: str | None = None,
    /,
    state: JsonObject | None = None,
    **parts: object,
) -> Change:
    """Return the change that leaves the current skill, with `state` in place of the old one; `parts` go into it as they are.

    The route is chosen by `signal`, and where none is given by what was said before.
    """
    skill, cursor = current_skill(spec, record), record.cursor
    route = choose_route(skill, cursor.signal if signal is None else signal)
    is_shut = route.gate is not None and not passes_gate(cursor.confidence, spec.confidence_threshold)
    if route.next != END and not is_shut:
        entered = enter(record, route.next, serial=cursor.serial + 1)
        update = {"cursor": entered, "state": record.state if state is None else state}
        return Change(record=record.model_copy(update=update), step=step, **parts)  # type: ignore[arg-type]
    if state is not None:
        record = record.model_copy(update={"state": state})
    if signal is not None:
        cursor = cursor.model_copy(update={"signal": signal, "failures": 0})
        record = record.model_copy(update={"cursor": cursor})
    if route.next == END:
        return finish(record, step, **parts)
    wait = gate_wait(spec, record, route.next, now)
    cursor = cursor.model_copy(update={"stage": "route", "calls": ()})
    return suspend(record, wait, step, cursor=cursor)._replace(**parts)  # type: ignore[arg-type]


def gate_wait(spec: AppSpec, record: Record, target: str, now: int) -> Wait:
    """Return the wait of a session whose confidence does not suffice."""
    cursor = record.cursor
    said = "none" if cursor.confidence is None else f"{cursor.confidence:.2f}"
    return Wait(
        wait_id=f"{record.session_id}/gate-{cursor.serial}",
        kind="input",
        gate=True,
        since_at=now,
        prompt=f"{cursor.skill}: confidence {said} is below {spec.confidence_threshold:.2f}. {cursor.rationale or ''}".strip(),
        options=GATE_OPTIONS,
        teams=spec.escalation_teams,
        target=target,
        reason="low_confidence",
    )
