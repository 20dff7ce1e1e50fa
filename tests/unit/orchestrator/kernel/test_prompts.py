"""The limits of a person's answer to a plugin's question; what fits a field's type is in test_plugin_pass.py."""

from orchestrator.contracts.plugins import PromptField
from orchestrator.kernel.answers import Refused
from orchestrator.kernel.prompts import MOST_TEXT_CHARS, check_answers

NOTE = PromptField(id="note")


def test_a_text_of_the_longest_length_is_an_answer() -> None:
    """What may be typed is told by the limit itself; one character more is refused."""
    longest = "x" * MOST_TEXT_CHARS

    assert check_answers((NOTE,), {"note": longest}) == {"note": longest}
    assert isinstance(check_answers((NOTE,), {"note": longest + "x"}), Refused)


def test_a_refusal_quotes_no_more_than_the_beginning_of_an_answer() -> None:
    """It goes into the journal and back to the person, who knows the rest."""
    refused = check_answers((NOTE,), {"note": "y" * (MOST_TEXT_CHARS + 1)})

    assert isinstance(refused, Refused)
    assert refused.reason == f"field 'note': '{'y' * 100}' does not fit; give a text"
