"""Bars for long work: on a terminal, for people, on standard error; and nowhere else."""

import io
import sys
from pathlib import Path

import pytest
from rich.text import Text

from orchestrator.interfaces.cli import progress
from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.options import Form
from orchestrator.interfaces.cli.output import make_table, print_table
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


@pytest.mark.parametrize(
    ("variables", "is_terminal", "is_coloured"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm"}, False, False),
    ],
    ids=["a terminal", "NO_COLOR", "a dumb terminal", "a file"],
)
def test_colours_are_for_terminals_whose_owner_wants_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_terminal: bool, is_coloured: bool
) -> None:
    """https://no-color.org, and nothing but text in a file."""
    screen = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    table = make_table("PHASE")
    table.add_row(Text("dead", "red"))

    print_table(table)

    assert "dead" in screen.getvalue()
    assert ("\x1b[31m" in screen.getvalue()) is is_coloured
    assert ("\x1b" in screen.getvalue()) is (is_terminal and variables["TERM"] != "dumb")
