"""Expected lines are patterns: text, any text, numbers with bounds, words that are kept."""

import pytest

from orchestrator.contracts.errors import InputError
from orchestrator.runbook_match import fill, match_output

METRICS = 'depth{app="a",line="steps"} 61.5\nbig 1.2e+07\nzero 0\n'
DEAD = "SESSION           REASON    ERROR\nEXE-20261120-004  attempts  -\n"


@pytest.mark.parametrize(
    ("expected", "is_met"),
    [
        (['depth{app="<app>",line="{steps|finalize}"} {> seconds}'], True),
        (['depth{app="<app>",line="{plugins|finalize}"} {> seconds}'], False),
        (['depth{app="a",line="steps"} {> 61.5}'], False),
        (["big {>= 12000000}", "zero {= 0}"], True),
        (["zero 0", "! zero {> 0}"], True),
        (["! zero {< 1}"], False),
        (["! absent ..."], True),
        (["zero"], False),
        (["exit 5"], False),
    ],
)
def test_every_expected_line_must_be_there(expected: list[str], is_met: bool) -> None:
    """Half of a symptom is another symptom."""
    assert match_output(expected, METRICS, 0, {"seconds": "60"}).is_met is is_met


def test_a_sessions_id_is_taken_from_a_table_and_not_from_its_head() -> None:
    """`SESSION` is a word too, and no session."""
    match = match_output(["<session> ..."], DEAD, 0, {})

    assert match.values == {"session": "EXE-20261120-004"}
    assert match_output(["<session> ..."], DEAD, 0, {"session": "EXE-20261120-005"}).missing == ("<session> ...",)


def test_a_command_that_fails_does_not_match_unless_that_is_expected() -> None:
    """A command that could not look has seen nothing."""
    assert match_output([], "", 5, {}).missing == ("exit 0 (it was 5)",)
    assert match_output(["exit 5"], "", 5, {}).is_met


def test_what_is_not_known_is_asked_for_by_its_name() -> None:
    """A command with a hole in it must not run."""
    with pytest.raises(InputError, match="--set worker="):
        fill(["drain", "<worker>"], {})
    with pytest.raises(InputError, match="'many' is no number"):
        match_output(["zero {> most}"], METRICS, 0, {"most": "many"})


def test_a_value_is_one_word_of_a_command_whatever_is_in_it() -> None:
    """What a store holds never becomes a second word, or a shell's."""
    assert fill(["show", "<session>"], {"session": "A; rm -rf /"}) == ["show", "A; rm -rf /"]
