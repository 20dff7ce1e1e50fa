"""A bar for work that goes on for a while: on standard error, on a terminal, for people. Elsewhere nothing is shown."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from orchestrator.interfaces.cli.options import Form
from orchestrator.interfaces.cli.output import make_console


class Progress:
    """Counts what is done; this one shows nothing."""

    def step(self, count: int = 1) -> None:
        """Count so many more."""


def show_progress(doing: str, total: int | None, form: Form) -> AbstractContextManager[Progress]:
    """Return a bar; `total` is None where nobody knows it. One thing to do has none, JSON has none."""
    is_seen = sys.stderr.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}
    if form == "json" or total in {0, 1} or not is_seen:
        return nullcontext(Progress())
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    class Shown(Bars, Progress):
        def step(self, count: int = 1) -> None:
            self.advance(self.task_ids[0], count)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Shown(*columns, console=make_console(stderr=True), transient=True)
    shown.add_task(doing, total=total)
    return shown
