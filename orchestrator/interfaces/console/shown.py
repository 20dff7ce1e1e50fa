"""Values as people read them on a page: times, ages, numbers, JSON, and text in which nothing can hide.

What a session holds was written by models, tools and plugins. The templates escape all of it; here its characters that
are seen otherwise than they are stored (controls, marks of direction, widths of zero) are made visible, so that the
arguments which a person approves are those that are sent.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from orchestrator.contracts.phases import PHASES

HERE: Final = Path(__file__).parent

#: Controls but tab and newline, soft hyphen, marks of direction, joiners, separators, fillers, selectors of variants but the two that
#: choose how an emoji is drawn, tags, non-characters. What pages write themselves (static/console.js) has the same.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)

#: One thing on a page is cut beyond this; the API and the command line have it whole.
MOST_CHARS: Final = 20_000


def visible(text: str) -> str:
    r"""Return the text with what nobody would see written out.

    >>> visible("ab\u202egpj.exe")
    'ab\\u202egpj.exe'
    """
    return _UNSEEN.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"


def pretty(value: object) -> str:
    """Return plain data as indented JSON, cut where it is endless.

    >>> pretty({"b": [1]})
    '{\\n  "b": [\\n    1\\n  ]\\n}'
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return cut(text)


def cut(text: str, limit: int = MOST_CHARS) -> str:
    """Return a text of at most so many characters, and say how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}\n… {len(text) - limit:,} characters more"


def inline(value: object, limit: int = 140) -> str:
    """Return plain data as one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def moment(at: int) -> Markup:
    """Return the store's ms as a time element, in UTC."""
    if not at:
        return Markup("–")  # noqa: RUF001 - a dash for nothing
    time = datetime.fromtimestamp(at / 1000, UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        time.strftime("%Y-%m-%d %H:%M:%S.") + f"{at % 1000:03d}",
        time.strftime("%Y-%m-%d %H:%M:%S"),
    )


def clock(at: int) -> Markup:
    """Return the time of day of the store's ms, in UTC."""
    time = datetime.fromtimestamp(at / 1000, UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        time.strftime("%Y-%m-%d %H:%M:%S"),
        time.strftime("%H:%M:%S") + f".{at % 1000:03d}",
    )


def span(seconds: float | None) -> str:
    """Return a duration in its two largest units.

    >>> [span(one) for one in (0, 0.0004, 0.25, 59.4, 95, 7_260, 100_000)]
    ['0 ms', '0.4 ms', '250 ms', '59 s', '1 m 35 s', '2 h 1 m', '1 d 3 h']
    """
    if seconds is None:
        return "–"  # noqa: RUF001 - a dash for nothing
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if 0 < seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    whole = int(seconds)
    for big, size, small, part in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {big} {rest} {small}" if rest else f"{whole // size} {big}"
    return f"{whole} s"


def number(value: float) -> str:
    """Return a number with its thousands apart, small ones with what matters of their fraction.

    >>> [number(one) for one in (0, 0.034, 2.5, 41.25, 12_345)]
    ['0', '0.03', '2.5', '41', '12,345']
    """
    if value == int(value) or value >= 10:
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def size(count: int) -> str:
    """Return bytes in MiB.

    >>> size(123_456_789)
    '118 MiB'
    """
    return f"{count / 1_048_576:,.0f} MiB"


def tone(word: object) -> str:
    """Return the class of a phase, an outcome, a verdict or a kind of status: what colour it has.

    >>> tone("ended"), tone("rejected"), tone("something else")
    ('good', 'bad', 'plain')
    """
    return _TONES.get(str(word), "plain")


_TONES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ended", "succeeded", "executed", "approved", "success", "granted", "done"), "good"),
    **dict.fromkeys(("waiting", "suspended", "snoozed", "executed_with_notify", "medium", "needs_review"), "warn"),
    **dict.fromkeys(("approval", "uncertain", "input", "draining", "paused", "timeout"), "warn"),
    **dict.fromkeys(("warn", "nearly spent", "ask_user", "modify", "inject_context", "compacted", "waits"), "warn"),
    **dict.fromkeys(("spent", "deny"), "bad"),
    **dict.fromkeys(("running", "finalizing", "ready", "pending", "alive", "scheduler", "worker"), "calm"),
    **dict.fromkeys(("dead", "failed", "failure", "rejected", "orphaned", "high", "denied", "buried"), "bad"),
    **dict.fromkeys(("policy_violation", "sandbox_unavailable", "cancelled"), "bad"),
    **dict.fromkeys(("escalation", "escalated"), "odd"),
}
assert set(PHASES) <= set(_TONES)  # noqa: S101 - a phase without a colour is a defect of this table


def link(session_id: str) -> str:
    """Return the path of a session's page."""
    return f"/console/sessions/{quote(session_id, safe='')}"


def query(**fields: object) -> str:
    """Return the query of a link; what is empty is left out.

    >>> query(app="a b", phase="", limit=None)
    '?app=a+b'
    """
    given = {name: value for name, value in fields.items() if value not in ("", None)}
    return f"?{urlencode(given)}" if given else ""


def _finish(value: object) -> object:
    if isinstance(value, Markup):
        return value
    if isinstance(value, dict | list):
        value = inline(value, MOST_CHARS)
    return visible(value) if isinstance(value, str) else value


def load_static() -> dict[str, tuple[bytes, str]]:
    """Return the files that pages use: their bytes and types by name."""
    types = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
    return {
        path.name: (path.read_bytes(), types[path.suffix])
        for path in sorted((HERE / "static").iterdir())
        if path.suffix in types
    }


class _Pages(Environment):
    """Templates for which a key that data does not have is None, and every other unknown name an error."""

    def getattr(self, obj: object, attribute: str) -> object:
        found = super().getattr(obj, attribute)
        return None if isinstance(obj, dict) and isinstance(found, Undefined) else found


def make_environment() -> Environment:
    """Return the templates: everything is escaped, and a name that is not given is an error."""
    made = _Pages(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finish,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "pretty": pretty,
        "cut": cut,
        "inline": inline,
        "moment": moment,
        "clock": clock,
        "span": span,
        "number": number,
        "size": size,
        "tone": tone,
        "link": link,
    }
    digests = {name: sha256(body).hexdigest()[:12] for name, (body, _) in load_static().items()}
    made.globals |= {"query": query, "static": lambda name: f"/console/static/{name}?v={digests[name]}"}
    return made
