"""The turn envelope: every form in which models declare confidence, reason and signal."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.envelope import Envelope, parse_envelope

JSON_LINE = '{"confidence": 0.9, "confidence_rationale": "seen twice", "signal": "success"}'
FULL = Envelope(content="Done.", confidence=0.9, rationale="seen twice", signal="success")

CASES = {
    "plain text": ("Just text.", Envelope(content="Just text.")),
    "empty": ("", Envelope()),
    "blank text is kept": ("  two\n", Envelope(content="  two\n")),
    "object on the last line": (f"Done.\n{JSON_LINE}", FULL),
    "object on the last line, blank lines around": (f"Done.\n\n{JSON_LINE}\n\n", FULL),
    "object in the last fence": (f"Done.\n```json\n{JSON_LINE}\n```", FULL),
    "object in a fence without a language": (f"Done.\n```\n{JSON_LINE}\n```\n", FULL),
    "the whole text": (
        '{"content": "Done.", "confidence": 0.9, "confidence_rationale": "seen twice", "signal": "success"}',
        FULL,
    ),
    "the whole text, fenced and over lines": (
        '```json\n{\n "content": "Done.",\n "confidence": 0.9,\n "rationale": "seen twice", "signal": "SUCCESS"\n}\n```',
        FULL,
    ),
    "response for content": ('{"response": "Done.", "confidence": 0.5}', Envelope(content="Done.", confidence=0.5)),
    "content alone": ('{"content": "Done."}', Envelope(content="Done.")),
    "declaration alone": (JSON_LINE, FULL.model_copy(update={"content": ""})),
    "other keys keep the whole text": (
        '{"finding": "x", "confidence": 0.5}',
        Envelope(content='{"finding": "x", "confidence": 0.5}', confidence=0.5),
    ),
    "content that is no text keeps the whole text": (
        '{"content": {"a": 1}, "signal": "failed"}',
        Envelope(content='{"content": {"a": 1}, "signal": "failed"}', signal="failed"),
    ),
    "an object that declares nothing is text": ('{"a": 1}', Envelope(content='{"a": 1}')),
    "a last object with other keys is text": (
        'See:\n{"confidence": 0.5, "rows": 3}',
        Envelope(content='See:\n{"confidence": 0.5, "rows": 3}'),
    ),
    "a rationale alone declares nothing": ('Hm.\n{"rationale": "x"}', Envelope(content='Hm.\n{"rationale": "x"}')),
    "broken JSON is text": ('Hm.\n{"confidence": 0.5', Envelope(content='Hm.\n{"confidence": 0.5')),
    "not a number": ('Hm.\n{"confidence": NaN}', Envelope(content='Hm.\n{"confidence": NaN}')),
    "confidence is clamped": ('{"content": "x", "confidence": 7}', Envelope(content="x", confidence=1.0)),
    "negative confidence": ('{"content": "x", "confidence": -1}', Envelope(content="x", confidence=0.0)),
    "confidence as text": ('{"content": "x", "confidence": "0.4"}', Envelope(content="x", confidence=0.4)),
    "confidence as a word": ('{"content": "x", "confidence": "High"}', Envelope(content="x", confidence=0.9)),
    "confidence as a truth value": ('{"content": "x", "confidence": true}', Envelope(content="x")),
    "confidence null": ('{"content": "x", "confidence": null, "signal": null}', Envelope(content="x")),
    "signal none": ('{"content": "x", "signal": "none"}', Envelope(content="x")),
    "signal of another kind": ('{"content": "x", "signal": 3}', Envelope(content="x")),
    "markdown": ("## Response\nDone.\n\n## Confidence\n0.9 - seen twice\n\n## Signal\nsuccess\n", FULL),
    "markdown, em dash": ("## Response\nDone.\n## Confidence\n0.9 \u2014 seen twice\n## Signal\n`success`", FULL),
    "markdown, en dash, no spaces": (
        "## Response\nDone.\n## Confidence\n0.9\u2013seen twice\n## Signal\n**Success**",
        FULL,
    ),
    "markdown, reason on the next line": ("# Response\nDone.\n# Confidence:\n0.9\nseen twice\n# Signal\nsuccess", FULL),
    "markdown, other order and case": (
        "### SIGNAL\nsuccess\n### confidence\n0.9: seen twice\n### response\nDone.",
        FULL,
    ),
    "markdown, percent": ("## Confidence\n90% - seen twice\n## Signal\nsuccess\n## Response\nDone.", FULL),
    "markdown, out of ten": ("Done.\n## Confidence\n9/10 - seen twice\n## Signal\nsuccess", FULL),
    "markdown, a word": ("Done.\n## Confidence\nHigh - seen twice\n## Signal\nsuccess", FULL),
    "markdown, bold number": ("Done.\n## Confidence\n**0.9** - seen twice\n## Signal\nsuccess", FULL),
    "markdown, text before the sections": (
        "Well.\n## Response\nDone.\n## Confidence\n0.5",
        Envelope(content="Well.\n\nDone.", confidence=0.5),
    ),
    "markdown, clamped": ("## Confidence\n1.7", Envelope(confidence=1.0)),
    "markdown, no number": ("x\n## Confidence\nquite sure", Envelope(content="x", rationale="quite sure")),
    "markdown, signal n/a": ("x\n## Confidence\n0.5\n## Signal\nN/A", Envelope(content="x", confidence=0.5)),
    "markdown, signal blank": ("x\n## Signal\n\n## Confidence\n0.5", Envelope(content="x", confidence=0.5)),
    "markdown, a response alone declares nothing": ("## Response\nDone.", Envelope(content="## Response\nDone.")),
    "markdown, a heading that only begins so": (
        "## Confidence in tests\nlow",
        Envelope(content="## Confidence in tests\nlow"),
    ),
}


@pytest.mark.parametrize(("text", "envelope"), CASES.values(), ids=CASES)
def test_a_declaration_is_read(text: str, envelope: Envelope) -> None:
    """Gates decide by what is read here: a form that is missed stops a session for a person."""
    assert parse_envelope(text) == envelope


@given(text=st.text(max_size=200) | st.text(alphabet='{}"#:.0 9\n`confidencesignal-', max_size=200))
def test_any_text_has_an_envelope(text: str) -> None:
    """A model may write anything; that must never be what ends a turn."""
    envelope = parse_envelope(text)

    assert envelope.confidence is None or 0 <= envelope.confidence <= 1


@pytest.mark.parametrize(
    "text", ["#" * 200_000, "## Confidence" + " " * 200_000 + "x", "```\n" * 50_000, "{" * 200_000]
)
def test_long_hostile_text_is_read_in_time(text: str) -> None:
    """The text comes from outside and is read on the loop."""
    began = time.process_time()
    parse_envelope(text)

    assert time.process_time() - began < 1.0
