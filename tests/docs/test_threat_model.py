"""What the threat model says is proved is proved: the tests and attacks that it names are there."""

import re
from pathlib import Path

from plugin_sandbox.attacks.catalogue import GROUPS, functions
from plugin_sandbox.inner.box import LAYERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "threat_model.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]


def test_every_promise_names_its_proof() -> None:
    """A promise without a proof is only a wish."""
    proofs = [row.strip("| ").split("|")[-1] for row in ROWS]

    assert len(proofs) > 8
    assert [row for row, proof in zip(ROWS, proofs, strict=True) if not re.search(r"`\w+`|group", proof)] == []


def test_the_tests_that_are_named_are_there() -> None:
    """One that was renamed takes its promise with it, and somebody must notice."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]

    missing = [
        name for name in re.findall(r"`(test_\w+)`", PAGE) if not any(f"def {name}(" in source for source in sources)
    ]

    assert missing == []


def test_the_attacks_that_are_named_are_there() -> None:
    """In the column of proofs, every other name is an attack."""
    known = {*functions(), *LAYERS}
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row) if not name.startswith("test_")}

    assert named - known - {"disk_mb"} == set()


def test_every_group_of_attacks_proves_something() -> None:
    """A group that no promise names is one that nobody looks at."""
    assert [group for group in GROUPS if f"group {group}" not in PAGE] == []
