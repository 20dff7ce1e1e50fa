"""Tables on terminals of any width: what is copied from them stays whole, prose gives way. Output in any encoding."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.output import LEAST_CUT, fit_table, make_table, print_json

ID = "A-LONG-PREFIX-OF-16-20261122-001"


def draw(width: int, *columns: str, row: tuple[str, ...], **options: tuple[str, ...]) -> list[str]:
    """Return the lines of a table with one row, as a terminal so wide is sent them."""
    table = make_table(*columns, **options)
    table.add_row(*row)
    room = fit_table(table, Console(file=io.StringIO(), width=width))
    sent = io.StringIO()
    Console(file=sent, width=room, markup=False).print(table)
    return [line.rstrip() for line in sent.getvalue().splitlines()]


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_an_id_and_a_status_are_never_cut(width: int) -> None:
    """Both are words that the next command needs; at 100 columns a list once showed neither."""
    text = "what the session was asked " * 4
    lines = draw(width, "SESSION", "PHASE", "STATUS", "TEXT", row=(ID, "waiting (approval)", "needs_review", text))

    assert len(lines) == 2
    assert lines[1].startswith(f"{ID}  waiting (approval)  needs_review  what the session wa")


def test_the_last_column_gives_way_down_to_its_least() -> None:
    """A terminal that has room is filled; one that has none still shows the beginning."""
    row = (ID, "x" * 100)

    assert len(draw(120, "SESSION", "TEXT", row=row)[1]) == 120
    assert len(draw(10, "SESSION", "TEXT", row=row)[1]) == len(ID) + 2 + LEAST_CUT
    assert draw(300, "SESSION", "TEXT", row=row)[1] == f"{ID}  {'x' * 100}"


def test_named_columns_give_way_the_widest_first() -> None:
    """Who approved a call is short, and stays readable while the call's arguments are cut."""
    (_, line) = draw(60, "CALL", "OUTCOME", "BY", row=("c" * 80, "approved", "ada: fine"), cuts=("CALL", "BY"))

    assert line.endswith("…  approved  ada: fine")
    assert len(line) == 60


def test_two_wide_columns_share_what_room_there_is() -> None:
    """In a live view both what a session does and what it was asked are looked for."""
    (_, line) = draw(52, "SESSION", "NOW", "TEXT", row=("S-1", "n" * 60, "t" * 50), cuts=("NOW", "TEXT"))

    assert (line.count("n"), line.count("t")) == (19, 20)  # each with its ellipsis


def test_a_character_that_the_output_lacks_ends_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `LC_ALL=de_DE.ISO-8859-1` an ellipsis was a traceback in the middle of a table."""
    wire = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(wire, encoding="latin-1"))

    code = main(["plugins", "new", "sample", "--path", str(tmp_path / "grüße…"), "--dry-run"])

    assert code == 0
    assert f"{tmp_path}/grüße?/manifest.yml: would be written".encode("latin-1") in wire.getvalue()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_json_keeps_every_character_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program reads must not have question marks in it."""
    wire = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(wire, encoding=encoding))

    print_json("said", "grüße… 雪 🙂")

    sys.stdout.flush()
    assert json.loads(wire.getvalue().decode(encoding)) == {"said": "grüße… 雪 🙂"}
