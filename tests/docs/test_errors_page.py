"""The page of model errors lists the classes that there are, and says of each whether it is tried again."""

import re

from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.provider_errors import ERROR_CLASSES
from tests.architecture.source_tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<name>\w+)` \| [^|]+ \| (?P<again>[^|]+) \|", re.MULTILINE)


def test_every_class_is_on_the_page_with_its_word_on_retries() -> None:
    """A runbook starts from a class; one that is missing, or wrong about retries, sends a person the wrong way."""
    rows = {row["name"]: row["again"] for row in ROW.finditer(PAGE)}

    assert rows.keys() == ERROR_CLASSES.keys()
    for name, made in ERROR_CLASSES.items():
        if name != "InvalidToolCallError":  # it depends on who wrote the call
            assert rows[name] == ("yes" if made.retryable_by_default else "no"), name


def test_every_field_of_a_failure_is_on_the_page_of_commands() -> None:
    """What `-o json` prints of a failure is promised there."""
    commands = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")

    assert [name for name in FailureRecord.model_fields if f"`{name}`" not in commands] == []
