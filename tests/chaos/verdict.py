"""What a run was worth: the ledger, the linear orders, and every acknowledged commit, under one list of what is wrong.

Each session is judged by the cuts that touched its part of the store; what no cut explains is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.contracts.session import Entry
from orchestrator.store.keys import Keys
from tests.chaos.cuts import Cut, Windows
from tests.chaos.evidence import Evidence
from tests.chaos.history import judge_histories
from tests.chaos.ledger import Ledger, judge
from tests.chaos.linear import Op
from tests.chaos.sides import Gap, Sides, count_sides, judge_sides


@dataclass
class Verdict:
    """The ledger, how much was checked, the commits that a cut took, who took steps, and a line for everything that is wrong."""

    ledger: Ledger
    operations: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    sides: Sides = field(default_factory=Sides)
    wrong: list[str] = field(default_factory=list)


def judge_run(
    evidence: Evidence,
    histories: dict[str, list[Op]],
    cuts: list[Cut],
    *,
    keys: Keys,
    lease_ms: float,
    is_safe: bool,
    gaps: Sequence[Gap] = (),
) -> Verdict:
    """Judge the sessions of the evidence; `is_safe` says that no cut may take what somebody relies on.

    `gaps` are the times in which nobody of a newer Baton was there any more.
    """

    def cuts_of(sid: str) -> list[Cut]:
        return [cut for cut in cuts if cut.touches(sid, keys)]

    def windows_of(sid: str) -> Windows:
        return [cut.window for cut in cuts_of(sid)]

    journals = {seen.told.session_id: seen.journal for seen in evidence.sessions}
    own = {sid: histories.get(sid, []) for sid in journals}
    commits = {sid: judge_commits({sid: own[sid]}, journals, windows_of(sid), is_safe=is_safe) for sid in own}

    def taken_of(sid: str) -> list[float]:
        return [one.at for one in commits[sid][0] if one.is_critical]

    ledger = judge(evidence, cuts_of=windows_of, taken_of=taken_of, is_safe=is_safe)
    found = Verdict(ledger, sides=count_sides(journals, own, gaps), wrong=[*ledger.wrong, *judge_sides(journals)])
    for sid, (gone, broken) in commits.items():
        moments = [moment for cut in cuts_of(sid) for moment in cut.moments]
        spans = [span for cut in cuts_of(sid) for span in cut.doubtful]
        found.wrong += judge_histories({sid: own[sid]}, lease_ms=lease_ms, cuts=moments, spans=spans)
        found.wrong += broken
        found.lost += map(str, gone)
        found.operations += len(own[sid])
        found.acknowledged += sum(op.what == "commit" and op.answer == "committed" for op in own[sid])
    ledger.forgotten.update(["commit"] * len(found.lost))
    return found


@dataclass(frozen=True)
class Gone:
    """An acknowledged commit that a cut has taken; `at` is the cut's moment."""

    session_id: str
    rev: int
    fence: int
    is_critical: bool
    at: float

    def __str__(self) -> str:
        return f"commit {self.rev} of {self.session_id} under fence {self.fence}"


def judge_commits(
    histories: dict[str, list[Op]],
    journals: dict[str, list[Entry]],
    cuts: Windows,
    *,
    is_safe: bool,
) -> tuple[list[Gone], list[str]]:
    """Compare every acknowledged commit with the journals: its entry is there, at its revision, with its fence.

    Return what a cut has taken, and what is wrong: gone without a cut to explain it, or critical and promised safe.
    """
    gone, wrong = [], []
    for sid, ops in histories.items():
        steps = [entry.fence for entry in journals.get(sid, []) if entry.kind == "step"]
        for op in ops:
            if op.what != "commit" or op.answer != "committed" or op.ended is None:
                continue
            fence, rev, _, critical = op.args[:4]
            if rev < len(steps) and steps[rev] == fence:
                continue
            # The answer may have come a moment before the cut to an act that was done within what the cut took back; or, given
            # then, it was on its way until somebody's network was healed. One that was asked for again came from the later server.
            is_repeated = op.args[-1]
            at = next(
                (
                    cut
                    for cut, back in cuts
                    if cut - back <= op.ended and (op.ended if is_repeated else op.began) <= cut + back
                ),
                None,
            )
            one = Gone(sid, rev, fence, critical, at or 0.0)
            if at is None or (is_safe and critical):
                wrong.append(f"{sid}: acknowledged and not in its journal: {one}")
            else:
                gone.append(one)
    return gone, wrong
