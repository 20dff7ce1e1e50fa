"""A runbook page as a value: front matter, eight sections, and the blocks that can be run.

    ---                                           A page is named after its file. Its alert is one of
    alert: BatonNoScheduler                       deploy/observability/alerts.yaml, its drills are the
    severity: page                                faults by which the tests try it, its values are what
    drills: [scheduler_killed]                    patterns and commands may name, with their defaults.
    values: {seconds: 60}
    ---
    # Title
    ## You see · It means · Confirm · Decide · Act · Verify · Undo · Afterwards     in this order, each once

    ```console check within 60s                   check: changes nothing; must print the lines below it
    $ baton metrics                               change: asked for before it runs
    baton_due_overdue 0                           hand: for a person to do; never run
    ```

In Act, a heading `### word: sentence` opens a branch: of several, one is chosen. Commands that are run are Baton's own
and reach no shell. This module reads; runbook_match.py compares, and the command line runs.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import yaml
from pydantic import ValidationError

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import ConfigError, InputError, suggest

Kind: TypeAlias = Literal["check", "change", "hand"]
Title: TypeAlias = Literal["You see", "It means", "Confirm", "Decide", "Act", "Verify", "Undo", "Afterwards"]
TITLES: Final[tuple[Title, ...]] = get_args(Title)

_FRONT = re.compile(r"\A---\n(.*?)^---\n", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"```console(?: (?P<kind>\w+))?(?: within (?P<seconds>\d+)s)?")
_BRANCH = re.compile(r"### (?P<word>[a-z][a-z_]*): (?P<sentence>.+)")
_PROMPT = "$ "


class RunbookInvalid(ConfigError):
    """A page that cannot be read as a runbook."""


class Front(Frozen):
    """What stands above a page's title."""

    alert: str
    severity: Literal["page", "ticket"]
    drills: tuple[str, ...]
    values: Mapping[str, str | int | float] = {}


class Command(Frozen):
    """One command, as words, and the lines that it must print; `line` is where it stands in the page."""

    text: str
    expected: tuple[str, ...] = ()
    line: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """The command's words, quotes understood."""
        return tuple(shlex.split(self.text))


class Block(Frozen):
    """Commands that belong together; a check is repeated until it matches or so many seconds are over."""

    kind: Kind
    commands: tuple[Command, ...]
    branch: str = ""
    within_seconds: float = 0.0


class Section(Frozen):
    """A section: prose and blocks in the page's order; branches with their sentences."""

    title: Title
    items: tuple[str | Block, ...] = ()
    branches: Mapping[str, str] = {}

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks alone."""
        return tuple(item for item in self.items if isinstance(item, Block))


class Page(Frozen):
    """One runbook."""

    name: str
    title: str
    front: Front
    sections: tuple[Section, ...]

    def section(self, title: Title) -> Section:
        """Return one of the eight."""
        return self.sections[TITLES.index(title)]


def find_runbooks() -> Path:
    """Return the folder of the pages: the wheel's, else the checkout's."""
    here = Path(__file__).resolve().parent
    return here / "_runbooks" if (here / "_runbooks").is_dir() else here.parent / "deploy" / "runbooks"


def load_pages(folder: Path) -> dict[str, Page]:
    """Return every page of a folder by its name; raise RunbookInvalid for the first that cannot be read."""
    files = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    return {path.stem: read_page(path.stem, path.read_text(encoding="utf-8")) for path in files}


def choose_page(word: str, pages: Mapping[str, Page]) -> Page:
    """Return the page of that name, or of that alert; raise InputError with the nearest."""
    found = pages.get(word) or next((page for page in pages.values() if page.front.alert == word), None)
    if found is None:
        raise InputError(f"runbook {word!r}: there is none; {suggest(word, pages)}")
    return found


def read_page(name: str, text: str) -> Page:
    """Read one page; raise RunbookInvalid."""
    found = _FRONT.match(text)
    if found is None:
        raise RunbookInvalid(f"{name}.md: no front matter; begin with `---`, alert, severity, drills, `---`")
    try:
        front = Front.model_validate(yaml.safe_load(found[1]))
    except (ValidationError, yaml.YAMLError) as error:
        raise RunbookInvalid(f"{name}.md: its front matter cannot be read: {error}; mend that") from error
    reader = _Reader(name, first_line=found[0].count("\n") + 1)
    for line in text[found.end() :].splitlines():
        reader.take(line)
    title, sections = reader.finish()
    return Page(name=name, title=title, front=front, sections=sections)


class _Reader:
    """Takes a page line by line."""

    def __init__(self, name: str, *, first_line: int) -> None:
        self._name, self._number = name, first_line - 1
        self._title = ""
        self._sections: list[tuple[str, list[str | Block], dict[str, str]]] = []
        self._prose: list[str] = []
        self._branch = ""
        self._open: tuple[Kind, float] | None = None
        self._plain = False
        self._commands: list[tuple[str, list[str], int]] = []

    def take(self, line: str) -> None:
        self._number += 1
        if self._open is not None:
            self._take_command(line)
        elif line.startswith("```"):
            self._fence(line)
        elif self._plain:
            self._prose.append(line)
        elif line.startswith("# "):
            self._title = line.removeprefix("# ").strip()
        elif line.startswith("## "):
            self._flush()
            self._branch = ""
            self._sections.append((line.removeprefix("## ").strip(), [], {}))
        else:
            self._take_prose(line)

    def _take_prose(self, line: str) -> None:
        branch = _BRANCH.fullmatch(line)
        if branch is not None and self._sections:
            self._flush()
            self._branch = branch["word"]
            self._sections[-1][2][branch["word"]] = branch["sentence"]
        elif line.startswith("### "):
            raise self._wrong(f"{line!r} is no branch; write `### word: sentence`")
        else:
            self._prose.append(line)

    def _fence(self, line: str) -> None:
        found = _FENCE.fullmatch(line.strip())
        if self._plain or found is None or found["kind"] is None:
            if line.startswith("```console"):
                raise self._wrong(f"{line!r}: a console block is `check`, `change` or `hand`; say which")
            self._plain = not self._plain
            self._prose.append(line)
            return
        kind = found["kind"]
        if kind not in get_args(Kind):
            raise self._wrong(f"{kind!r} is no kind of block; {suggest(kind, get_args(Kind))}")
        if not self._sections:
            raise self._wrong("a block before the first section; move it")
        self._flush()
        self._open = (kind, float(found["seconds"] or 0))  # type: ignore[assignment]  # it is one of Kind's

    def _take_command(self, line: str) -> None:
        if line.strip() == "```":
            kind, seconds = self._open or ("check", 0.0)
            commands = tuple(Command(text=text, expected=tuple(rows), line=at) for text, rows, at in self._commands)
            if not commands:
                raise self._wrong("an empty block; write `$ baton ...`, or take it out")
            block = Block(kind=kind, commands=commands, branch=self._branch, within_seconds=seconds)
            self._sections[-1][1].append(block)
            self._open, self._commands = None, []
        elif line.startswith(_PROMPT):
            self._commands.append((line.removeprefix(_PROMPT).strip(), [], self._number))
        elif self._commands:
            if line.strip():
                self._commands[-1][1].append(line.strip())
        else:
            raise self._wrong(f"a block begins with `$ command`, not with {line!r}")

    def _flush(self) -> None:
        text = "\n".join(self._prose).strip("\n")
        self._prose = []
        if text and self._sections:
            self._sections[-1][1].append(text)

    def finish(self) -> tuple[str, tuple[Section, ...]]:
        if self._open is not None or self._plain:
            raise self._wrong("a block that is not closed; add ```")
        self._flush()
        titles = tuple(title for title, _, _ in self._sections)
        if not self._title or titles != TITLES:
            raise RunbookInvalid(
                f"{self._name}.md: it needs a title and the sections {', '.join(TITLES)}, each once and in this order; "
                f"it has {', '.join(titles)}"
            )
        sections = tuple(
            Section(title=title, items=tuple(items), branches=branches)
            for title, (_, items, branches) in zip(TITLES, self._sections, strict=True)
        )
        return self._title, sections

    def _wrong(self, what: str) -> RunbookInvalid:
        return RunbookInvalid(f"{self._name}.md:{self._number}: {what}")
