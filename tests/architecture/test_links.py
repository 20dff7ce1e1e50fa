"""Every link inside the documentation leads somewhere: the file is there, and so is its heading."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT, list_files, relative

MARKDOWN = frozenset({".md"})
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def list_documents() -> list[Path]:
    """Return every Markdown file of the checkout."""
    return [
        *sorted(ROOT.glob("*.md")),
        *list_files("docs", "apps", "deploy", "bench", "orchestrator", "workers", "plugin_sandbox", kinds=MARKDOWN),
    ]


def find_links(text: str) -> list[str]:
    """Return the targets of the links of a document, without what stands in code."""
    return [match.group(1) or match.group(2) for match in LINK.finditer(CODE.sub("", text))]


def list_anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them, and its explicit ones.

    >>> sorted(list_anchors("# What it *is*\\n## A `b`, c\\n## A b c"))
    ['a-b-c', 'a-b-c-1', 'what-it-is']
    """
    without_blocks = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    anchors = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", without_blocks, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return anchors


def find_broken(document: Path, text: str) -> list[str]:
    """Return the relative links of a document that lead nowhere."""
    broken = []
    for link in find_links(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue  # another site's pages are not ours to promise
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if path and not (target.exists() and target.is_relative_to(ROOT)):
            broken.append(f"{link}: there is no such file")
        elif anchor and target.suffix == ".md":
            content = text if target == document else target.read_text(encoding="utf-8")
            if anchor not in list_anchors(content):
                broken.append(f"{link}: there is no such heading")
    return broken


def test_every_link_leads_somewhere() -> None:
    """A runbook's dead link is found at night, by somebody who needs it."""
    broken = [
        f"{relative(path)}: {line}"
        for path in list_documents()
        for line in find_broken(path, path.read_text(encoding="utf-8"))
    ]

    assert broken == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[a](README.md) [b](#top-of-it)\n# Top of *it*", 0),
        ("[a](no-such-file.md)", 1),
        ("[a](#no-such-heading)", 1),
        ("[a](../outside.md)", 1),
        ("`[a](no.md)` and\n```\n[b](no.md)\n```\n", 0),
        ("[a][1]\n\n[1]: no-such-file.md", 1),
        ("[a](https://example.org/#x)", 0),
    ],
)
def test_a_broken_link_is_found(text: str, count: int) -> None:
    """The check reads links the way a reader's browser does."""
    assert len(find_broken(ROOT / "X.md", text)) == count


def test_every_decision_has_a_number_of_its_own() -> None:
    """A decision is cited by its number: two of one number are a citation that leads to the wrong page."""
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    heads = [re.match(r"# (\d+)\. ", page.read_text(encoding="utf-8")) for page in pages]

    numbers = [int(page.name[:4]) for page in pages]
    assert [int(head[1]) if head else None for head in heads] == numbers
    assert len(set(numbers)) == len(numbers)
