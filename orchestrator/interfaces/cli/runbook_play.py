"""Walks through one runbook: Confirm, Decide, Act, Verify, with a person who is asked before every change.

    Confirm does not match    nothing is changed: not_confirmed
    the person says no        nothing more is changed: refused
    a command of Act fails    stop: failed
    Verify matches in time    verified, and how long it took since the first act; else not_verified

What runs a command and who is asked come in as parameters: the command line brings processes and a terminal, the drills of the
tests bring theirs.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import InputError
from orchestrator.runbook_match import Match, fill, list_names, match_output
from orchestrator.runbook_page import Block, Command, Page, Title

Verdict: TypeAlias = Literal["verified", "confirmed", "undone", "not_confirmed", "refused", "failed", "not_verified"]

LOOK_SECONDS: Final = 0.5
#: What a page says before and after everything that is run.
_FIRST: Final[tuple[Title, ...]] = ("You see", "It means")
_LAST: Final[tuple[Title, ...]] = ("Undo", "Afterwards")


class Printed(Frozen):
    """What a command printed, on both its streams, and how it ended."""

    text: str
    code: int


class Ran(Frozen):
    """One command of a walk; `missing` are the expected lines that it did not print."""

    section: Title
    kind: str
    command: str
    code: int | None = None
    missing: tuple[str, ...] = ()
    seconds: float = 0.0


class Walk(Frozen):
    """How a walk ended. `seconds` is from the first act to the end of Verify."""

    runbook: str
    verdict: Verdict
    ran: tuple[Ran, ...] = ()
    seconds: float = 0.0


class Person(Protocol):
    """Who follows the page."""

    def tell(self, text: str) -> None:
        """Read this."""

    def allow(self, command: str) -> bool:
        """Say whether this command may change something."""

    def do(self, commands: Sequence[str]) -> bool:
        """Do this by hand; False: it was not done."""

    def choose(self, branches: Mapping[str, str]) -> str:
        """Choose a branch of Act; "" chooses none."""

    def say(self, name: str) -> str:
        """Tell a value that the page needs; "" where it is not known."""


@dataclass
class Walker:
    """One walk through one page; `hurries` looks once where the page would wait."""

    page: Page
    person: Person
    execute: Callable[[Sequence[str]], Printed]
    values: dict[str, str] = field(default_factory=dict)
    dry_run: bool = False
    hurries: bool = False
    ran: list[Ran] = field(default_factory=list)
    refused: bool = False

    def __post_init__(self) -> None:
        """Begin with the page's own values."""
        self.values = {**{name: str(value) for name, value in self.page.front.values.items()}, **self.values}

    def confirm(self) -> bool:
        """Run Confirm's checks; say whether the page is the right one."""
        return all(self._check(block, "Confirm") for block in self._read("Confirm"))

    def walk(self, *, force: bool = False) -> Walk:
        """Go through the page; with `force`, also where Confirm does not match."""
        for title in _FIRST:
            self._list(title)
        if not self.confirm() and not force:
            return self._end("not_confirmed")
        for block in self._read("Decide"):  # looked at, to choose by; none of it has to match
            self._check(block, "Decide")
        if self.dry_run:
            self._list("Act")
            self._list("Verify")
            return self._end("confirmed")
        began = time.monotonic()
        if not self._act("Act"):
            return self._end("refused" if self.refused else "failed")
        is_well = all(self._check(block, "Verify") for block in self._read("Verify"))
        seconds = time.monotonic() - began
        for title in _LAST:
            self._list(title)
        return self._end("verified" if is_well else "not_verified", seconds)

    def undo(self) -> Walk:
        """Do what stands under Undo."""
        return self._end("undone" if self._act("Undo") else "refused" if self.refused else "failed")

    def _act(self, title: Title) -> bool:
        section = self.page.section(title)
        branch = next(iter(section.branches), "")
        if len(section.branches) > 1:
            branch = self.person.choose(section.branches)
            if branch not in section.branches:
                self.refused = True
                return False
        for block in self._read(title, branch):
            if block.kind == "hand":
                self.ran += [Ran(section=title, kind="hand", command=command.text) for command in block.commands]
                if not self.person.do([command.text for command in block.commands]):
                    self.refused = True
                    return False
            elif block.kind == "check":
                if not self._check(block, title):
                    return False
            elif not self._change(block, title):
                return False
        return True

    def _change(self, block: Block, title: Title) -> bool:
        for command in block.commands:
            words = self._fill(command)
            if not self.person.allow(" ".join(words)):
                self.refused = True
                return False
            if not self._run(command, words, title, "change"):
                return False
        return True

    def _check(self, block: Block, title: Title) -> bool:
        if block.kind != "check":
            raise InputError(f"runbook {self.page.name}: {title} holds a {block.kind}; only Act and Undo may")
        deadline = time.monotonic() + (0.0 if self.hurries else block.within_seconds)
        return all(self._look(command, title, deadline) for command in block.commands)

    def _look(self, command: Command, title: Title, deadline: float) -> bool:
        words = self._fill(command)
        while True:
            printed = self.execute(words[1:])
            match = match_output(command.expected, printed.text, printed.code, self.values)
            if match.is_met or time.monotonic() >= deadline:
                break
            time.sleep(LOOK_SECONDS)
        return self._note(command, words, title, "check", printed, match)

    def _run(self, command: Command, words: Sequence[str], title: Title, kind: str) -> bool:
        printed = self.execute(words[1:])
        return self._note(
            command,
            words,
            title,
            kind,
            printed,
            match_output(command.expected, printed.text, printed.code, self.values),
        )

    def _note(
        self, command: Command, words: Sequence[str], title: Title, kind: str, printed: Printed, match: Match
    ) -> bool:
        text = " ".join(words)
        self.person.tell(f"$ {text}")
        shown = match.found if match.is_met and command.expected else printed.text.splitlines()[-20:]
        for line in shown:
            self.person.tell(f"  {line}")
        for line in match.missing:
            self.person.tell(f"  expected, and not there: {line}")
        self.ran.append(Ran(section=title, kind=kind, command=text, code=printed.code, missing=match.missing))
        if match.is_met:
            self.values.update(match.values)
        return match.is_met

    def _fill(self, command: Command) -> list[str]:
        for name in list_names(command.words):
            if name not in self.values and (told := self.person.say(name)):
                self.values[name] = told
        return fill(command.words, self.values)

    def _read(self, title: Title, branch: str = "") -> Iterator[Block]:
        """Tell a section's prose, and yield its blocks: those of one branch, and those of none."""
        section = self.page.section(title)
        if section.items:
            self.person.tell(f"\n{title}")
        for item in section.items:
            if isinstance(item, Block):
                if item.branch in {"", branch}:
                    yield item
            else:
                self.person.tell(item)

    def _list(self, title: Title) -> None:
        """Tell a section without running any of it."""
        for block in self._read(title):
            for command in block.commands:
                self.person.tell(f"  {block.kind}: {command.text}")

    def _end(self, verdict: Verdict, seconds: float = 0.0) -> Walk:
        return Walk(runbook=self.page.name, verdict=verdict, ran=tuple(self.ran), seconds=round(seconds, 2))
