"""A walk changes nothing before Confirm matches, asks before each change, and says how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.interfaces.cli.runbook_play import Printed, Walker
from orchestrator.runbook_page import Page, read_page

PAGE = """---
alert: BatonX
severity: page
drills: [x]
---
# X

## You see
Words.

## It means
Words.

## Confirm
```console check
$ baton look
state bad
```

## Decide
Words.

## Act
```console hand
$ mend it
```

```console change
$ baton mend <what>
mended
```

## Verify
```console check
$ baton look
state good
```

## Undo
```console change
$ baton unmend
```

## Afterwards
Words.
"""


@dataclass
class Site:
    """A thing that is bad until it is mended."""

    state: str = "bad"
    ran: list[str] = field(default_factory=list)

    def execute(self, words: Sequence[str]) -> Printed:
        self.ran.append(" ".join(words))
        if words[0] == "mend":
            self.state = "good"
            return Printed(text="mended", code=0)
        return Printed(text=f"state {self.state}", code=0)


@dataclass
class Someone:
    """Says yes, or no."""

    allows: bool = True
    does: bool = True

    def tell(self, text: str) -> None:
        """Read it."""

    def allow(self, command: str) -> bool:
        return self.allows

    def do(self, commands: Sequence[str]) -> bool:
        return self.does

    def choose(self, branches: Mapping[str, str]) -> str:
        return ""

    def say(self, name: str) -> str:
        return "it"


def page() -> Page:
    """Return the page."""
    return read_page("x", PAGE)


def test_a_fault_is_confirmed_mended_and_verified() -> None:
    """The way of every page."""
    site = Site()
    walk = Walker(page(), Someone(), site.execute).walk()

    assert walk.verdict == "verified"
    assert site.ran == ["look", "mend it", "look"]
    assert [(one.section, one.kind) for one in walk.ran][1:3] == [("Act", "hand"), ("Act", "change")]


def test_nothing_is_changed_where_confirm_does_not_match() -> None:
    """The wrong page must do no harm."""
    site = Site(state="good")

    assert Walker(page(), Someone(), site.execute).walk().verdict == "not_confirmed"
    assert site.ran == ["look"]


def test_a_person_who_says_no_is_heard() -> None:
    """Every change is theirs."""
    site = Site()

    assert Walker(page(), Someone(allows=False), site.execute).walk().verdict == "refused"
    assert Walker(page(), Someone(does=False), site.execute).walk().verdict == "refused"
    assert site.state == "bad"


def test_a_dry_run_only_looks() -> None:
    """What would be done is read before it is done."""
    site = Site()

    assert Walker(page(), Someone(), site.execute, dry_run=True).walk().verdict == "confirmed"
    assert site.ran == ["look"]


def test_an_act_that_does_not_help_is_told() -> None:
    """A page that says that all is well when it is not is worse than none."""
    site = Site()

    def execute(words: Sequence[str]) -> Printed:
        printed = site.execute(words)
        site.state = "bad"
        return printed

    assert Walker(page(), Someone(), execute).walk().verdict == "not_verified"


def test_undo_is_a_walk_of_its_own() -> None:
    """It is asked for by name, and never follows from an act."""
    site = Site()

    assert Walker(page(), Someone(), site.execute).undo().verdict == "undone"
    assert site.ran == ["unmend"]
