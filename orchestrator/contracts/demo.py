"""What an app may bring beside its declaration: a demo, and its own options for `submit`.

Both are plain Python files in the app's folder, loaded by name when they are asked for, so that
the generic commands know no app's words:

    demo.py     exports `demo() -> Demo`: a real scene for the app to work on, and its end
    submit.py   exports `submissions(options) -> Sequence[Submission]`

`baton submit APP --some-option VALUE …` hands every option that it does not know itself to the
app's `submissions`, as `{"some_option": "VALUE"}`: dashes become underscores, a flag without a
value is "yes". An app without `submit.py` has no options of its own. `baton demo --some-option
VALUE` does the same for `Demo.prepare`; an app's demo ignores options that are not its own,
because one command line serves the demos of several apps. A `demo.py` may export `OPTIONS`, its
options by name with what each means: an option that no demo names is refused then. A demo may have `check(options)`, which
raises InputError for options that cannot be met: it is asked before anything is started.

Neither talks to the store. They say what is to be submitted, and whoever called them submits it.
Bad input is an `InputError` whose message reads `where: what; what to do`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import Field

from orchestrator.contracts.base import Frozen, JsonObject


class Submission(Frozen):
    """One session that is to be submitted.

    `text` is what the session is asked, `overrides` its first state (validated by the app's
    `state_schema`), `title` the line that a person sees for it. `key` is the idempotency key;
    None leaves it to the one who submits.
    """

    text: str
    overrides: JsonObject = Field(default_factory=dict)
    title: str = ""
    key: str | None = None


class Demo(Protocol):
    """A scene on real input: `prepare` sets it up, `stop` takes down all that runs for it."""

    def prepare(self, folder: Path, options: Mapping[str, str]) -> Sequence[Submission]:
        """Set the scene up below `folder` and return what is to be submitted; raise InputError."""
        ...

    def stop(self) -> None:
        """End every process of the scene, also one that a session started. May be called twice."""
        ...


class Submit(Protocol):
    """The `submissions` function of an app's `submit.py`."""

    def __call__(self, options: Mapping[str, str]) -> Sequence[Submission]:
        """Turn the app's own options into submissions; raise InputError for an unknown one."""
        ...
