"""docs/reference/cli.md names every key and every exit code; its list of commands is compared by tests/docs."""

import re
from pathlib import Path

from orchestrator.contracts.session import Cursor, Entry, PendingCall, Record, Wait
from orchestrator.interfaces.cli import exits, shapes
from orchestrator.interfaces.cli.dead import letter_shape

PAGE = Path(__file__).resolve().parents[4] / "docs" / "reference" / "cli.md"


def test_every_key_of_json_is_on_the_page() -> None:
    """Whoever builds on a key has read of it here."""
    call = PendingCall(call_id="c", tool="t")
    record = Record(
        session_id="SES-20261120-001",
        app="a",
        spec="0",
        phase="waiting",
        cursor=Cursor(skill="s"),
        wait=Wait(wait_id="w", kind="approval", call=call),
    )
    entry = Entry(kind="step", actor="a")
    named = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))

    printed = {
        *shapes.session_shape(record),
        *(shapes.wait_shape(record) or {}),
        *shapes.entry_shape(entry),
        *letter_shape(record.session_id, {}),
    }

    assert printed - named == set()


def test_every_exit_code_is_on_the_page() -> None:
    """The codes never change their meaning, so the page can be relied on."""
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    table = PAGE.read_text(encoding="utf-8").split("## Exit codes")[1].split("##")[0]

    assert codes == {
        int(number) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for number in row.split(",")
    }
