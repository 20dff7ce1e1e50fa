"""What may be left uncovered, file by file, and what a measurement says to that. Pure.

A file that is not named has to be covered whole: every line, both ways of every branch. A number may only go down, and one
that is larger than what is left is refused as well, for it would let the next gap in unseen.
"""

from collections.abc import Iterable, Mapping


def read_allowed(text: str) -> dict[str, int]:
    """Return how many lines and branches may be left of each file; `#` begins a comment.

    >>> read_allowed("# left\\na/b.py 3\\n")
    {'a/b.py': 3}
    """
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return {name: int(count) for name, count in filter(None, lines)}


def judge(left: Mapping[str, int], allowed: Mapping[str, int]) -> list[str]:
    """Return what is wrong, a sentence each; `left` counts what was not covered of every measured file."""
    wrong = []
    for name, count in sorted(left.items()):
        most = allowed.get(name, 0)
        if count > most:
            wrong.append(f"{name}: {count} lines and branches are not covered, {most} may be; write a test for them")
        elif count < most:
            wrong.append(f"{name}: only {count} are not covered; lower its {most} in allowed.txt")
    wrong += [
        f"{name}: is not measured any more; take it out of allowed.txt" for name in sorted(allowed.keys() - left.keys())
    ]
    return wrong


def table(left: Mapping[str, int], sizes: Mapping[str, int], groups: Iterable[str]) -> list[str]:
    """Return a line for each group of files: how much of it is covered, and how much is left."""
    made = []
    for group in groups:
        names = [name for name in left if name.startswith(group)]
        size, missed = sum(sizes[name] for name in names), sum(left[name] for name in names)
        share = 100 * (size - missed) / size if size else 0.0
        made.append(f"{group:<24} {len(names):>3} files  {share:>6.1f} %  {missed:>4} left")
    return made
