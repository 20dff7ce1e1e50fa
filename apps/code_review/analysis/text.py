"""Read a text file as those do who use it, and find in it what should never be committed: markers of an unfinished merge. Pure."""

from collections.abc import Collection

from .findings import Finding


def read_lines(content: bytes, changed: Collection[int] | None) -> tuple[str, frozenset[int] | None]:
    """Return a file's text with plain line ends, and which of its lines changed, where `changed` are lines as git counts them.

    Python and editors also end a line at a carriage return alone, git does not: what it calls one line may be many.

    >>> read_lines(b"a\\rb\\r\\nc\\n", {1})
    ('a\\nb\\nc\\n', frozenset({1, 2}))
    """
    text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    if changed is None:
        return text, None
    rows, row = set[int](), 1
    for number, line in enumerate(content.split(b"\n"), start=1):
        after = row + 1 + line.removesuffix(b"\r").count(b"\r")
        if number in changed:
            rows.update(range(row, after))
        row = after
    return text, frozenset(rows)


def find_conflict_markers(path: str, text: str, changed: Collection[int] | None) -> list[Finding]:
    """Return one finding for each opening marker on a changed line that has its middle and its end.

    A line of `=======` alone is a heading in many formats, so only the three in order count.
    """
    findings: list[Finding] = []
    opened: int | None = None
    middle = False
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("<<<<<<< "):
            opened, middle = number, False
        elif opened is not None and line.rstrip("\r") == "=======":
            middle = True
        elif opened is not None and middle and line.startswith(">>>>>>> "):
            if changed is None or opened in changed:
                findings.append(
                    Finding(
                        file=path,
                        line=opened,
                        severity="error",
                        category="correctness",
                        message="Merge conflict left in the file.",
                        suggestion="Choose a side and remove the markers.",
                        rule="conflict-marker",
                    )
                )
            opened, middle = None, False
    return findings
