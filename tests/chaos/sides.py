"""Which of two Batons took which step, while one was being replaced by the other: read from what each step wrote.

Once a newer one has taken a step of a session, no older one may take another: it could not even read what is there. Which
sessions waited meanwhile for a newer one, and whether the others went on, is counted for whoever reads the report.
Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.contracts.session import Entry
from tests.chaos.linear import Op
from tests.chaos.newer import OLDER, find_format

#: From when until when (the store's ms) nobody of the newer Baton was there after some had been.
Gap = tuple[int, int]


@dataclass(frozen=True)
class Sides:
    """Steps by the older and by the newer Baton, sessions with steps of both, and claims of which an older one was told off.

    Of the times in which none of the newer one was there any more: sessions that it had left unfinished, and the
    steps that others took meanwhile.
    """

    older: int = 0
    newer: int = 0
    both: int = 0
    left_alone: int = 0
    waited: int = 0
    went_on: int = 0


def judge_sides(journals: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Return a line for each session in which an older Baton took a step after a newer one."""
    wrong = []
    for sid, journal in journals.items():
        highest = OLDER
        for entry in journal:
            found = find_format(entry)
            if found is None:
                continue
            if found < highest:
                wrong.append(f"{sid}: step {entry.seq} was taken in format {found} after one in format {highest}")
                break
            highest = max(highest, found)
    return wrong


def count_sides(
    journals: Mapping[str, Sequence[Entry]], histories: Mapping[str, Sequence[Op]], gaps: Sequence[Gap]
) -> Sides:
    """Return the sums."""
    older = newer = both = waited = went_on = 0
    for journal in journals.values():
        steps = [(entry.at, found) for entry in journal if (found := find_format(entry)) is not None]
        of_newer = sum(found > OLDER for _, found in steps)
        newer, older = newer + of_newer, older + len(steps) - of_newer
        both += 0 < of_newer < len(steps)
        for since, until in gaps:
            went_on += sum(since <= at < until for at, _ in steps)
            was_newer = any(at < since and found > OLDER for at, found in steps)
            waited += was_newer and any(at >= until for at, _ in steps)
    left_alone = sum(op.what == "claim" and op.answer == "newer" for ops in histories.values() for op in ops)
    return Sides(older, newer, both, left_alone, waited, went_on)
