"""Every answer that a script can give is known to whoever calls it: read off the scripts and their callers, not off a run."""

import ast
import re
from pathlib import Path

import pytest

from orchestrator.store.scripts import FOLDER
from tests.architecture.source_tree import ROOT

#: Script → answers that its caller does not name, for what it does with all of them alike.
TAKEN_ALIKE = {
    "admit": {"malformed"},  # a StoreError has the word
    "advance": {"malformed", "refused"},  # as commit
    "bury": {"missing", "readable"},  # it was not buried
    "claim": {
        "missing",
        "settled",
        "busy",
        "early",
        "foreign",
        "newer",
        "suspect",
        "buried",
    },  # ClaimRefused has the word
    "commit": {"malformed", "refused"},  # a StoreError has the word
    "fork": {"malformed"},  # a StoreError has the word
    "leave": {"left"},  # all but malformed
    "limit": {"limited"},  # not allowed
    "mark": {"marked"},  # the mark is for whoever repairs a store: nothing hangs on it
    "mint": {"minted"},  # all but malformed
    "move_key": {"elsewhere"},  # not moved
    "note": {"noted"},  # all but malformed
    "page": {"malformed"},  # a StoreError
    "post": {"duplicate"},  # not posted
    "prune": {"changed"},  # it stays
    "refuse": {"noted", "enough", "missing"},  # the note is all there was to do
    "release": {"stale"},  # not ours any more
    "renew": {"stale", "malformed"},  # LeaseLost: the step stops
    "report": {"closed", "counted"},  # not opened
    "rescue": {"alive", "shortened", "missing"},  # no orphan
    "stream": {"stale"},  # not streamed
    "submit": {"existing"},  # not created
    "take_deliveries": {"taken"},  # done
    "wake": {"early", "missing"},  # not woken
}
SCRIPTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.lua"))}


def answers_of(source: str) -> set[str]:
    """Return the words with which a script's replies begin; figures alone are none."""
    lines = [line.partition("--")[0] for line in source.splitlines()]
    begun = [words for line in lines for words in re.findall(r"\breturn \{([^,}]*)", line)]
    return {word for words in begun for word in re.findall(r"'(\w+)'", words)}


def callers() -> dict[str, set[str]]:
    """Return, for each script, every text that stands in the functions which call it."""
    found: dict[str, set[str]] = {}
    for path in sorted(Path(ROOT, "orchestrator").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            texts = {
                one.value for one in ast.walk(function) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
            for call in ast.walk(function):
                match call:
                    case ast.Call(
                        func=ast.Attribute(attr="act" | "act_on_partition" | "act_on_key"),
                        args=[ast.Constant(value=str(name)), *_],
                    ):
                        found.setdefault(name, set()).update(texts)
    return found


CALLERS = callers()


def test_every_script_has_a_caller() -> None:
    """A script that nobody calls is dead, and a call of one that is not there fails at night."""
    assert CALLERS.keys() == SCRIPTS.keys()


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_answer_is_known_to_its_caller(name: str) -> None:
    """An answer that falls through unseen is taken for the good one: what was refused would count as done."""
    answers, alike = answers_of(SCRIPTS[name]), TAKEN_ALIKE.get(name, set())

    assert answers - CALLERS[name] == alike


@pytest.mark.parametrize("name", [name for name, source in SCRIPTS.items() if "Answers:" in source])
def test_what_a_script_says_of_its_answers_is_complete(name: str) -> None:
    """Whoever writes a caller reads the head of the file; arguments that make no sense are refused by all of them."""
    head = "\n".join(line for line in SCRIPTS[name].splitlines() if line.startswith("--"))

    assert {answer for answer in answers_of(SCRIPTS[name]) if answer not in head} <= {"malformed"}
