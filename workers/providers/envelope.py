"""Read what an assistant's text declares about its turn: confidence, why, and the signal.

Three forms are understood, in this order:
1. the whole text is a JSON object, fenced or not, with `content` or a declaration;
2. the text ends in such an object, on its own line or in a fence: what stands before is the content;
3. Markdown sections `## Response`, `## Confidence` ("0.85 - because ...") and `## Signal`.
Any other text declares nothing and is its own content. Pure; whether the signal is in the app's
vocabulary, and what a low confidence leads to, is decided by the kernel.
"""

import math
import re
from typing import Final

from pydantic import JsonValue

from orchestrator.contracts.base import Frozen, JsonObject, load_json
from orchestrator.kernel.harvest import coerce_confidence

_KEYS: Final = frozenset({"content", "response", "confidence", "confidence_rationale", "rationale", "signal"})
_DECLARING: Final = _KEYS - {"content", "response", "rationale"}
_NO_SIGNAL: Final = frozenset({"", "none", "null", "n/a", "na", "-"})

_FENCE: Final = re.compile(r"```[A-Za-z]*[ \t]*\n(?P<body>.*?)\n?```", re.DOTALL)
# Every repetition is bounded: a model's text must not make a pattern slow.
_HEADING: Final = re.compile(
    r"^ {0,3}#{1,6}[ \t]{0,8}(?P<name>response|confidence|signal)[ \t:#]{0,16}$", re.IGNORECASE | re.MULTILINE
)
_SCORE: Final = re.compile(
    r"(?P<number>[-+]?(?:\d{1,15}(?:\.\d{0,30})?|\.\d{1,30}))[ \t]{0,4}"
    r"(?:(?P<percent>%)|/[ \t]{0,4}(?P<of>\d{1,6}(?:\.\d{1,6})?))?(?![\w%/])"
)
_DASHES: Final = " \t\r\n-\u2010\u2011\u2012\u2013\u2014\u2015\u2212:;,."
_EMPHASIS: Final = "*_`\"' \t\r\n"
#: A longer text in braces is a document, not an envelope.
_MAX_OBJECT: Final = 1_000_000


class Envelope(Frozen):
    """A turn's text without its declaration, and what was declared."""

    content: str = ""
    confidence: float | None = None
    rationale: str | None = None
    signal: str | None = None


def parse_envelope(text: str) -> Envelope:
    """Return what `text` declares; any text has an envelope, and none raises.

    >>> parse_envelope('Looks fine.\\n{"confidence": 0.9, "signal": "success"}')
    Envelope(content='Looks fine.', confidence=0.9, rationale=None, signal='success')
    >>> parse_envelope("## Response\\nFine.\\n## Confidence\\n0.85 - seen twice\\n## Signal\\nnone").rationale
    'seen twice'
    """
    stripped = text.strip()
    whole = _read_object(_without_fence(stripped))
    if whole is not None and (isinstance(_content_of(whole), str) or _DECLARING & whole.keys()):
        # What the object says beyond the envelope's own keys is not lost: then all of it is the content.
        is_whole = whole.keys() <= _KEYS and isinstance(_content_of(whole), str | None)
        return _from_object(whole, before="") if is_whole else _from_object({**whole, "content": text}, before="")
    return _from_tail(stripped) or _from_sections(stripped) or Envelope(content=text)


def _content_of(found: JsonObject) -> JsonValue:
    return found.get("content", found.get("response"))


def _from_object(found: JsonObject, *, before: str) -> Envelope:
    content = _content_of(found)
    return Envelope(
        content="\n\n".join(part for part in (before, content) if isinstance(part, str) and part),
        confidence=_confidence(found.get("confidence")),
        rationale=_phrase(found.get("confidence_rationale", found.get("rationale"))),
        signal=_signal(found.get("signal")),
    )


def _from_tail(text: str) -> Envelope | None:
    """Read an object on the last line or in the last fence. It holds the declaration's keys only."""
    if text.endswith("```"):
        opening = text.rfind("```", 0, len(text) - 3)
        before, tail = text[: max(opening, 0)], _without_fence(text[max(opening, 0) :])
    else:
        before, _, tail = text.rpartition("\n")
    found = _read_object(tail)
    if found is None or not _DECLARING & found.keys() or not found.keys() <= _KEYS:
        return None
    return _from_object(found, before=before.strip())


def _from_sections(text: str) -> Envelope | None:
    """Read Markdown sections; text before the first one belongs to the content."""
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)] * bool(headings)
    sections: dict[str, str] = {}
    for heading, end in zip(headings, ends, strict=True):
        sections[heading["name"].lower()] = text[heading.end() : end].strip()
    if not {"confidence", "signal"} & sections.keys():
        return None
    before = text[: headings[0].start()].strip()
    confidence, rationale = _score(sections.get("confidence", ""))
    return Envelope(
        content="\n\n".join(part for part in (before, sections.get("response", "")) if part),
        confidence=confidence,
        rationale=rationale,
        signal=_signal(sections.get("signal")),
    )


def _score(text: str) -> tuple[float | None, str | None]:
    """Split "0.85 - why", "85 %: why" or "high, why" into a number from 0 to 1 and the reason."""
    body = text.strip(_EMPHASIS)
    if (found := _SCORE.match(body)) is not None:
        whole = 100.0 if found["percent"] else float(found["of"] or 1)
        return coerce_confidence(float(found["number"]) / (whole or 1)), _phrase(
            body[found.end() :].lstrip(_EMPHASIS).lstrip(_DASHES)
        )
    word = re.match(r"[A-Za-z]+", body)
    confidence = coerce_confidence(word[0]) if word else None
    if word is None or confidence is None:
        return None, _phrase(body)
    return confidence, _phrase(body[word.end() :].lstrip(_EMPHASIS).lstrip(_DASHES))


def _confidence(value: JsonValue) -> float | None:
    """Read a declared number; here a model may also write it as text, with a reason or not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return _score(value)[0] if isinstance(value, str) else coerce_confidence(value)


def _phrase(value: JsonValue) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _signal(value: JsonValue) -> str | None:
    if not isinstance(value, str):
        return None
    word = value.strip(_EMPHASIS).lower()
    return None if word in _NO_SIGNAL else word


def _without_fence(text: str) -> str:
    fence = _FENCE.fullmatch(text)
    return fence["body"] if fence else text


def _read_object(text: str) -> JsonObject | None:
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")) or len(body) > _MAX_OBJECT:
        return None
    try:
        found = load_json(body)
    except ValueError:  # it only looked like JSON: then it is text
        return None
    return found if isinstance(found, dict) else None
