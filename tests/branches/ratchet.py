"""What may be left uncovered, file by file, and what a measurement says to that. Pure.

A file that is not named has to be covered whole: every line, both ways of every branch. A number may only go down. One that
could be lowered is told and fails nothing: some branches of the sandbox are gone only where processes meet, or on another host.
"""

from collections.abc import Iterable, Mapping


def read_allowed(text: str) -> dict[str, int]:
    """Return how many lines and branches may be left of each file; `#` begins a comment.

    >>> read_allowed("# left\\na/b.py 3\\n")
    {'a/b.py': 3}
    """
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return {name: int(count) for name, count in filter(None, lines)}


def find_gaps(left: Mapping[str, int], allowed: Mapping[str, int]) -> list[str]:
    """Return where more is left than may be, a sentence each; `left` counts what was not covered of every measured file."""
    return [
        f"{name}: {count} lines and branches are not covered, {allowed.get(name, 0)} may be; write a test for them"
        for name, count in sorted(left.items())
        if count > allowed.get(name, 0)
    ]


def find_slack(left: Mapping[str, int], allowed: Mapping[str, int]) -> list[str]:
    """Return which numbers could be lowered, a sentence each."""
    return [
        f"{name}: {left.get(name, 0)} are left; lower its {most} in allowed.txt"
        for name, most in sorted(allowed.items())
        if left.get(name, 0) < most
    ]


def table(left: Mapping[str, int], sizes: Mapping[str, int], groups: Iterable[str]) -> list[str]:
    """Return a line for each group of files: how much of it is covered, and how much is left."""
    made = []
    for group in groups:
        names = [name for name in left if name.startswith(group)]
        size, missed = sum(sizes[name] for name in names), sum(left[name] for name in names)
        share = 100 * (size - missed) / size if size else 0.0
        made.append(f"{group:<24} {len(names):>3} files  {share:>6.1f} %  {missed:>4} left")
    return made
