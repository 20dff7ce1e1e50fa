"""Where a skill goes next."""

import pytest

from orchestrator.contracts.skill import END, Responsive, Route
from orchestrator.kernel.routes import choose_route


def skill(*routes: tuple[str, str]) -> Responsive:
    """Build a skill with routes (when, next)."""
    return Responsive(kind="responsive", name="look", routes=tuple(Route(when=w, next=n) for w, n in routes))


@pytest.mark.parametrize(
    ("signal", "target"),
    [
        ("failed", "mend"),
        ("success", "tell"),
        ("unheard_of", "think"),
        (None, "think"),
        ("", "think"),
        ("default", "think"),
    ],
)
def test_the_signal_chooses_else_the_default(signal: str | None, target: str) -> None:
    """A signal that no route names is no reason to stop."""
    routes = skill(("success", "tell"), ("failed", "mend"), ("failed", "late"), ("default", "think"))

    assert choose_route(routes, signal).next == target


def test_without_a_default_the_first_route_is_taken() -> None:
    """Every session goes somewhere."""
    assert choose_route(skill(("success", "tell"), ("failed", "mend")), "unheard_of").next == "tell"


def test_a_skill_without_routes_ends_the_work() -> None:
    """A single-skill app needs no routes."""
    assert choose_route(skill(), "success") == Route(when="default", next=END)
