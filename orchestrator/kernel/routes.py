"""Choose where a skill goes next.

The signal is what the agent said last (harvest.py); whether a gate lets it through is the work of
risk.py. Pure.
"""

from orchestrator.contracts.skill import END, Route, SkillBase

#: The route for a signal that no route names, and for no signal at all.
DEFAULT_SIGNAL = "default"


def choose_route(skill: SkillBase, signal: str | None) -> Route:
    """Return the first route for the signal, else the first default one, else the first.

    A skill without routes ends the session's work.

    >>> from orchestrator.contracts.skill import TimerStep
    >>> step = TimerStep(kind="timer", name="nap", seconds=1, routes=(Route(when="failed", next="mend"),))
    >>> choose_route(step, "failed").next, choose_route(step, None).next
    ('mend', 'mend')
    """
    for wanted in (signal or DEFAULT_SIGNAL, DEFAULT_SIGNAL):
        for route in skill.routes:
            if route.when == wanted:
                return route
    return skill.routes[0] if skill.routes else Route(when=DEFAULT_SIGNAL, next=END)
