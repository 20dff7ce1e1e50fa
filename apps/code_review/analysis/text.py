"""Find in any text file what should never be committed: markers of an unfinished merge. Pure."""

from collections.abc import Collection

from .findings import Finding


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
