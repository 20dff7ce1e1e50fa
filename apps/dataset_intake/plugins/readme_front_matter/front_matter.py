"""Read and complete the YAML front matter of a Markdown text, line by line: what is there keeps its every byte. Pure.

Only the names and plain values of top-level keys are understood, which is all that a check needs.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_FENCE = re.compile(r"---[ \t]*\r?\n")
_END = re.compile(r"^(?:---|\.\.\.)[ \t]*\r?$", re.MULTILINE)
_KEY = re.compile(r"^(?P<key>[A-Za-z_][\w.-]*)[ \t]*:(?:[ \t]+(?P<value>[^\r\n]*?))?[ \t]*\r?$", re.MULTILINE)


class FrontMatterError(Exception):
    """The front matter cannot be read."""


def read_keys(text: str) -> dict[str, str]:
    r"""Return the top-level keys of a text's front matter with their plain values; none where it has none.

    >>> read_keys("---\ntitle: 'A b'  # note\ntags:\n  - x\n---\n# A")
    {'title': 'A b', 'tags': ''}
    """
    found = _split(text)
    if found is None:
        return {}
    keys: dict[str, str] = {}
    for one in _KEY.finditer(found[0]):
        if one["key"] in keys:
            raise FrontMatterError(f"its front matter has the key {one['key']!r} twice")
        keys[one["key"]] = _plain(one["value"] or "")
    return keys


def add_keys(text: str, keys: Mapping[str, Any]) -> str:
    r"""Return the text with further keys at the end of its front matter, which is made where there is none.

    >>> add_keys("# A\n", {"title": "A: b", "rows": 2})
    '---\ntitle: "A: b"\nrows: 2\n---\n\n# A\n'
    """
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    found = _split(text)
    if found is None:
        return "\n".join(["---", *lines, "---", "", text])
    body, end = found
    start = end - len(body)
    newline = "\r\n" if "\r\n" in text[:start] else "\n"
    return text[:end] + "".join(line + newline for line in lines) + text[end:]


def _split(text: str) -> tuple[str, int] | None:
    """Return what stands between the fences, and where it ends; None where there is no front matter."""
    opening = _FENCE.match(text)
    if opening is None:
        return None
    closing = _END.search(text, opening.end())
    if closing is None:
        raise FrontMatterError("its front matter has no end; close it with a line of ---")
    return text[opening.end() : closing.start()], closing.start()


def _plain(value: str) -> str:
    value = value.strip()
    if value[:1] in {"'", '"'}:
        end = value.find(value[0], 1)
        return value[1:end] if end > 0 else value[1:]
    return value.split(" #", 1)[0].strip()
