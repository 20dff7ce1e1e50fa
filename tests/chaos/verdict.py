"""What a run was worth: the ledger, the linear orders, and every acknowledged commit, under one list of what is wrong.

Each session is judged by the cuts that touched its part of the store; what no cut explains is wrong.
"""

from dataclasses import dataclass, field

from orchestrator.contracts.session import Entry
from orchestrator.store.keys import Keys
from tests.chaos.cuts import Cut, Windows
from tests.chaos.evidence import Evidence
from tests.chaos.history import judge_histories
from tests.chaos.ledger import Ledger, judge
from tests.chaos.linear import Op


@dataclass
class Verdict:
    """The ledger, how much was checked, the commits that a cut took, and a line for everything that is wrong."""

    ledger: Ledger
    operations: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def judge_run(
    evidence: Evidence,
    histories: dict[str, list[Op]],
    cuts: list[Cut],
    *,
    keys: Keys,
    lease_ms: float,
    is_safe: bool,
) -> Verdict:
    """Judge the sessions of the evidence; `is_safe` says that no cut may take what somebody relies on."""

    def cuts_of(sid: str) -> list[Cut]:
        return [cut for cut in cuts if cut.touches(sid, keys)]

    def windows_of(sid: str) -> Windows:
        return [cut.window for cut in cuts_of(sid)]

    ledger = judge(evidence, cuts_of=windows_of, is_safe=is_safe)
    found = Verdict(ledger, wrong=list(ledger.wrong))
    for seen in evidence.sessions:
        sid = seen.told.session_id
        own = {sid: histories.get(sid, [])}
        moments = [moment for cut in cuts_of(sid) for moment in cut.moments]
        spans = [span for cut in cuts_of(sid) for span in cut.doubtful]
        found.wrong += judge_histories(own, lease_ms=lease_ms, cuts=moments, spans=spans)
        lost, broken = judge_commits(own, ledger.journals, windows_of(sid), is_safe=is_safe)
        found.lost += lost
        found.wrong += broken
        found.operations += len(own[sid])
        found.acknowledged += sum(op.what == "commit" and op.answer == "committed" for op in own[sid])
    ledger.forgotten.update(line.split(" ", 1)[0] for line in found.lost)
    return found


def judge_commits(
    histories: dict[str, list[Op]],
    journals: dict[str, list[Entry]],
    cuts: Windows,
    *,
    is_safe: bool,
) -> tuple[list[str], list[str]]:
    """Compare every acknowledged commit with the journals: its entry is there, at its revision, with its fence.

    Return what a cut has taken, and what is wrong: gone without a cut to explain it, or critical and promised safe.
    """
    lost, wrong = [], []
    for sid, ops in histories.items():
        steps = [entry.fence for entry in journals.get(sid, []) if entry.kind == "step"]
        for op in ops:
            if op.what != "commit" or op.answer != "committed" or op.ended is None:
                continue
            fence, rev, _, critical = op.args[:4]
            if rev < len(steps) and steps[rev] == fence:
                continue
            line = f"commit {rev} of {sid} under fence {fence}"
            # The answer may have come a moment before the cut to an act that was done within what the cut took back.
            explained = any(cut - back <= op.ended <= cut + back for cut, back in cuts)
            if not explained or (is_safe and critical):
                wrong.append(f"{sid}: acknowledged and not in its journal: {line}")
            else:
                lost.append(line)
    return lost, wrong
