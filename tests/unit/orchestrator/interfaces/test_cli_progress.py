"""Bars for long work: on a terminal, for people, on standard error; and nowhere else."""

import io
import sys
from pathlib import Path

import pytest

from orchestrator.interfaces.cli import progress
from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.options import Form
from orchestrator.simulation import TOLD_SESSIONS, Play, play


class Terminal(io.StringIO):
    """A standard error at which somebody looks."""

    def isatty(self) -> bool:
        return True


def test_a_bar_counts_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is gone when the work is: what was printed stands alone."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")

    with progress.show_progress("sending again", 4, "table") as shown:
        shown.step()
        shown.step(3)

    assert "sending again" in screen.getvalue()
    assert "4/4" in screen.getvalue()


@pytest.mark.parametrize(
    ("total", "form", "is_terminal", "term"),
    [(4, "json", True, "xterm"), (1, "table", True, "xterm"), (4, "table", False, "xterm"), (4, "table", True, "dumb")],
    ids=["JSON", "one thing", "no terminal", "a dumb one"],
)
def test_nobody_else_sees_one(
    monkeypatch: pytest.MonkeyPatch, total: int, form: Form, is_terminal: bool, term: str
) -> None:
    """A log with a thousand states of one bar is read by nobody."""
    screen = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", term)

    with progress.show_progress("sending again", total, form) as shown:
        shown.step()

    assert screen.getvalue() == ""


def test_a_play_says_how_far_it_is() -> None:
    """A million sessions take a minute."""
    told: list[int] = []
    load = Play(sessions=2 * TOLD_SESSIONS + 5, rate=0, steps=1, step_seconds=1, wait_seconds=0, workers=4, lanes=9,
                slice_seconds=1, spread=0, seed=0)  # fmt: skip

    assert play(load, tell=told.append) == play(load)
    assert told == [TOLD_SESSIONS] * 2


#: Commands that may go on for long, and the modules in which each has its bar.
LONG = {
    "dead.py": 2,
    "archive.py": 2,
    "fleet.py": 1,
    "forks.py": 1,
    "scale.py": 2,
    "submit.py": 2,
}


def test_all_that_takes_long_has_one() -> None:
    """A command that is silent for a minute is interrupted."""
    folder = Path(progress.__file__).parent

    assert {name: (folder / name).read_text().count("with show_progress(") for name in LONG} == LONG


def test_a_play_off_a_terminal_prints_its_figures_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """As a script wants it."""
    assert main(["scale", "simulate", "--sessions", "2000", "--rate", "0", "--steps", "1", "--within", "1h"]) == 0
    assert capsys.readouterr().err == ""
