"""What a drill is: a fault that is done to a site, and what its page asks a person to do by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from orchestrator.interfaces.cli.runbook_play import Walker
from orchestrator.runbook_page import Page
from tests.deploy.drills.lab import Lab

Values = Mapping[str, object]


class Drill:
    """One fault of one page. `values` are known before the fault, what `inject` returns after it."""

    page: ClassVar[str]
    branch: ClassVar[str] = ""

    def prepare(self, lab: Lab) -> None:
        """Bring the site into the state that the fault needs, before Confirm is tried without it."""

    def values(self, lab: Lab) -> Values:
        """Return thresholds: what the alert would compare with."""
        return {}

    def inject(self, lab: Lab) -> Values:
        """Do the fault."""
        raise NotImplementedError

    def by_hand(self, lab: Lab) -> None:
        """Do what Act asks of a person."""

    def after(self, lab: Lab) -> None:
        """Look closer, and put the site back as it was."""


@dataclass
class Operator:
    """Allows every change, and does by hand what the drill says."""

    drill: Drill
    lab: Lab
    told: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Read it."""
        self.told.append(text)

    def allow(self, command: str) -> bool:
        """Yes."""
        return True

    def do(self, commands: Sequence[str]) -> bool:
        """Do it."""
        self.drill.by_hand(self.lab)
        return True

    def choose(self, branches: Mapping[str, str]) -> str:
        """The drill's."""
        return self.drill.branch

    def say(self, name: str) -> str:
        """Nothing that is not known."""
        return ""


def walker_of(drill: Drill, lab: Lab, page: Page, *known: Values, hurries: bool = False) -> Walker:
    """Return somebody who walks through the drill's page."""
    values = {name: str(value) for values in known for name, value in values.items()}
    return Walker(page, Operator(drill, lab), lab.execute, values, hurries=hurries)


MakeDrill = Callable[[], Drill]
