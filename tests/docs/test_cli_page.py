"""The page of commands promises every object that `-o json` prints."""

import ast
import re

from tests.architecture.source_tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
CLI = ROOT / "orchestrator" / "interfaces" / "cli"
_PRINTERS = {"answers.py": {"_tell"}}


def keys_printed() -> set[str]:
    """Return the key of every object; answers.py hands its keys on."""
    return {
        call.args[0].value
        for path in CLI.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in _PRINTERS.get(path.name, {"print_json"})
        if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }


def test_every_object_is_on_the_page() -> None:
    """A script that reads what a command prints is written from this table."""
    cells = re.findall(r"^\| `[^|]+ \| ([^|]+) \|", PAGE.partition("## JSON")[2], re.MULTILINE)
    promised = {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}

    assert keys_printed() - {"error"} == promised
