"""The pages that a reader follows by hand are followed here: each command is run, each answer compared."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT
from tests.docs.console import Console, Matcher, Mismatch, read_blocks, read_steps
from tests.ports import free_port

FIRST_APP = ROOT / "docs" / "how-to" / "first_app.md"
A_PLUGIN = ROOT / "docs" / "how-to" / "write_a_plugin.md"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A reader with an empty folder and a `baton` on the path: the launcher has tests of its own, and takes longer."""
    commands, folder = tmp_path / "bin", tmp_path / "reader"
    commands.mkdir()
    folder.mkdir()
    command = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m orchestrator.interfaces.cli.start "$@"\n'
    (commands / "baton").write_text(command, encoding="utf-8")
    (commands / "baton").chmod(0o755)
    (commands / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    (commands / "python").chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "OPENAI_", "ANTHROPIC_"))
    }
    environment = kept | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "BATON_STATE_DIR": str(tmp_path / "state"),
    }
    made = Console(folder, environment)
    try:
        yield made
    finally:
        made.close()


def test_a_first_plugin_works_as_the_page_says(console: Console) -> None:
    """In the strict tier, which the page shows."""
    console.play(A_PLUGIN.read_text(encoding="utf-8"))

    assert (console.folder / "notes" / "greeting.txt").read_text() == "HELLO\n!"


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_app_works_as_the_page_says(console: Console) -> None:
    """Who follows the page word by word must get what it promises: a stale page loses its reader in the first minute."""
    text = FIRST_APP.read_text(encoding="utf-8")
    # The page's port may be taken on this machine; a reader would choose another one, too.
    text = text.replace("8089", str(free_port()))

    console.play(text)

    assert len(console.ids) == 3


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),
        (["...", "b"], ["x", "y", "b"], True),
        (["a", "..."], ["a"], True),
        (["a ... c"], ["a  b   c"], True),
        (["a", "c"], ["a", "", "c"], True),
        (["S-20261120-001", "S-20261120-001"], ["S-20270101-007", "S-20270101-007"], True),
        (["S-20261120-001", "S-20261120-001"], ["S-20270101-007", "S-20270101-008"], False),
    ],
)
def test_a_page_is_compared_as_a_reader_would(expected: list[str], printed: list[str], *, fits: bool) -> None:
    """A comparison that lets anything pass would prove nothing."""
    matcher = Matcher(tuple(expected), {})

    try:
        for line in printed:
            matcher.take(line)
        matcher.finish()
        does_fit = True
    except Mismatch:
        does_fit = False

    assert does_fit is fits


def test_the_first_page_leaves_no_command_out() -> None:
    """Blocks that the reader's console does not read would never be tried."""
    blocks = read_blocks(FIRST_APP.read_text(encoding="utf-8"))

    assert {block.language for block in blocks} <= {"console", "yaml"}
    assert len([step for block in blocks if block.language == "console" for step in read_steps(block.body)]) > 20
