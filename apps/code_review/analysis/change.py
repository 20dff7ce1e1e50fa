"""Judge a change as a whole: is it tested, is it small enough to be read. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from ..repository import ChangedFile
from .findings import Finding

_OVERSIZED_LINES: Final = 800
_OVERSIZED_FILES: Final = 40
#: Fewer added lines than this, without a test, are only mentioned.
_UNTESTED_LINES: Final = 30
_LARGE_BINARY_BYTES: Final = 1024 * 1024

_TEST: Final = re.compile(
    r"(?i)(^|/)(tests?|testing|__tests__|specs?)/|(^|/)(test_[^/]*|[^/]*_tests?|conftest)\.[a-z]+$|\.(test|spec)\.[a-z]+$"
)
_SOURCE: Final = re.compile(r"\.(py|pyx|js|jsx|ts|tsx|go|rs|java|kt|rb|php|c|cc|cpp|h|hpp|cs|swift|scala|lua)$")
_UNTESTABLE: Final = re.compile(
    r"(^|/)(docs?|examples?|migrations?|scripts?|bench(marks)?|vendor|third_party|node_modules)/|(^|/)(setup|conf|__init__|__main__|_version)\.py$"
)
_GENERATED: Final = re.compile(
    r"(^|/)([^/]+\.(lock|lockb|min\.js|min\.css|map|svg|snap)|package-lock\.json|pnpm-lock\.yaml|go\.sum|[^/]+_pb2\.pyi?)$"
)


def is_test(path: str) -> bool:
    """Say whether a path is that of a test.

    >>> [is_test(path) for path in ("tests/unit/test_a.py", "a_test.go", "web/a.spec.ts", "src/contest.py")]
    [True, True, True, False]
    """
    return _TEST.search(path) is not None


def is_generated(path: str) -> bool:
    """Say whether a path is that of a lock file or of something else that no one writes by hand."""
    return _GENERATED.search(path) is not None


def judge_change(title: str, files: Sequence[ChangedFile], sizes: dict[str, int]) -> list[Finding]:
    """Return the findings on the whole change; `sizes` gives the bytes of each content."""
    return [*_judge_size(files), *_judge_tests(title, files), *_judge_binaries(files, sizes)]


def _judge_size(files: Sequence[ChangedFile]) -> list[Finding]:
    written = [file for file in files if not is_generated(file.path)]
    lines = sum(file.additions + file.deletions for file in written)
    if lines <= _OVERSIZED_LINES and len(written) <= _OVERSIZED_FILES:
        return []
    largest = max(written, key=lambda file: file.additions + file.deletions)
    return [
        Finding(
            file=largest.path,
            severity="warning",
            category="size",
            message=f"Oversized change: {lines} lines in {len(written)} files; nobody reads that with care.",
            suggestion="Split it into commits that each do one thing.",
            rule="oversized-change",
        )
    ]


def _judge_tests(title: str, files: Sequence[ChangedFile]) -> list[Finding]:
    if title.startswith("Revert "):
        return []
    sources = [
        file
        for file in files
        if _SOURCE.search(file.path) and not is_test(file.path) and not _UNTESTABLE.search(file.path)
        if file.status != "deleted" and file.additions > 0 and not is_generated(file.path)
    ]
    tested = any(is_test(file.path) and file.status != "deleted" for file in files)
    if not sources or tested:
        return []
    lines = sum(file.additions for file in sources)
    largest = max(sources, key=lambda file: file.additions)
    return [
        Finding(
            file=largest.path,
            severity="warning" if lines >= _UNTESTED_LINES else "info",
            category="tests",
            message=f"Untested change (source files: {len(sources)}, lines added: {lines}): no test changed with it.",
            suggestion="Add a test that fails without this change.",
            rule="untested-change",
        )
    ]


def _judge_binaries(files: Sequence[ChangedFile], sizes: dict[str, int]) -> list[Finding]:
    return [
        Finding(
            file=file.path,
            severity="warning",
            category="size",
            message=f"Binary file of {size / 1048576:.1f} MiB: every clone carries it for ever.",
            suggestion="Keep it in an artifact store or in Git LFS.",
            rule="large-binary",
        )
        for file in files
        if file.binary and file.content_id and (size := sizes.get(file.content_id, 0)) > _LARGE_BINARY_BYTES
    ]
