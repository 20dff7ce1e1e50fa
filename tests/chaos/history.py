"""The history of leases and commits: what every process asked, when, and what it was answered.

A process writes one line when it asks and one when it is answered, each in one write: whoever is killed in between
leaves a question without an answer, and that is exactly what the checker has to know. Times are the machine's
monotonic milliseconds, which all processes share and no clock jump moves.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

from orchestrator.contracts.errors import LeaseLost, Unsettled
from orchestrator.store.due import Due
from orchestrator.store.durability import Confirmer
from orchestrator.store.leases import Claimed, ClaimedUnreadable, ClaimRefused, Commit, Leases
from orchestrator.store.store import Store
from tests.chaos.lease_models import Lease, Revision, lease_model, revisions
from tests.chaos.linear import Op, check_history

#: Set while an operation is under way, to a list that grows with each repetition.
_marked: ContextVar[int] = ContextVar("marked", default=0)
_repeats: ContextVar[list[int] | None] = ContextVar("repeats", default=None)


def now_ms() -> float:
    """Return the machine's monotonic milliseconds."""
    return time.monotonic() * 1000


class Recorder:
    """Writes one process's part of the history; a fork begins a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._pid = 0
        self._file = -1

    def write(self, **line: Any) -> None:
        """Append one line in one write."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            path = self._folder / f"{self._pid}-{time.monotonic_ns()}.history"
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, json.dumps(line).encode() + b"\n")

    async def record(
        self, what: str, sid: str, args: list[Any], act: Awaitable[Any], read: Callable[[Any], Any]
    ) -> Any:
        """Do an act between two lines; `read` makes its result an answer. Without an answer there is no second line."""
        number = next(self._numbers)
        self.write(n=number, what=what, sid=sid, args=args, at=now_ms())
        repeats: list[int] = []
        token = _repeats.set(repeats)
        try:
            result = await act
        except LeaseLost:
            self.write(n=number, at=now_ms(), answer="stale", repeated=len(repeats))
            raise
        except Unsettled:
            self.write(n=number, at=now_ms(), answer="unsettled", repeated=len(repeats))
            raise
        finally:
            _repeats.reset(token)
        self.write(n=number, at=now_ms(), answer=read(result), repeated=len(repeats))
        return result


def read_claim(result: Claimed | ClaimRefused | ClaimedUnreadable) -> Any:
    """Return what a claim was answered: fence and revision, or the word of a refusal."""
    if isinstance(result, Claimed):
        return [result.record.fence, result.record.rev]
    return result.answer if isinstance(result, ClaimRefused) else "unreadable"


def is_releasing(commit: Commit) -> bool:
    """Say whether nobody has the lease after this commit."""
    return commit.directive != "continue" and not commit.keep


def record_confirmations(recorder: Recorder) -> Callable[[], None]:
    """Write down which marks were confirmed to this process, before anybody is told; return what undoes that."""
    mark, ask = Confirmer._mark, Confirmer._ask

    async def record_mark(self: Confirmer, wire: Any) -> int:
        number = await mark(self, wire)
        _marked.set(number)
        return number

    async def record_ask(self: Confirmer, wire: Any) -> str:
        run_id = await ask(self, wire)
        if run_id:
            recorder.write(confirmed=_marked.get())
        return run_id

    def undo() -> None:
        Confirmer._mark, Confirmer._ask = mark, ask  # type: ignore[method-assign]

    Confirmer._mark, Confirmer._ask = record_mark, record_ask  # type: ignore[method-assign]
    return undo


def count_confirmed(folder: Path) -> int:
    """Return the last mark that was confirmed to any process."""
    lines = [line for path in folder.glob("*.history") for line in path.read_text(encoding="utf-8").splitlines()]
    return max((json.loads(line)["confirmed"] for line in lines if line.startswith('{"confirmed"')), default=0)


def install(folder: Path) -> None:
    """Let this process write its history: wrap what asks the store for leases and commits."""
    recorder = Recorder(folder)
    claim, commit, renew, release, rescue = Leases.claim, Leases.commit, Leases.renew, Leases.release, Due.rescue
    repeat, confirm = Store._repeat_after, Confirmer.confirm

    async def repeated(self: Store, *args: Any) -> Any:
        repeats = _repeats.get()
        if repeats is not None:
            repeats.append(1)
        return await repeat(self, *args)

    async def unconfirmed(self: Confirmer, run_id: str) -> bool:
        is_safe = await confirm(self, run_id)
        repeats = _repeats.get()
        if not is_safe and repeats is not None:
            repeats.append(1)  # the act is done again now, though it may have been done
        return is_safe

    @wraps(claim)
    async def record_claim(self: Leases, sid: str, *args: Any, **named: Any) -> Any:
        return await recorder.record("claim", sid, [], claim(self, sid, *args, **named), read_claim)

    @wraps(commit)
    async def record_commit(self: Leases, sid: str, fence: int, rev: int, what: Commit) -> Any:
        args = [fence, rev, is_releasing(what), what.is_critical]
        return await recorder.record("commit", sid, args, commit(self, sid, fence, rev, what), lambda _: "committed")

    @wraps(renew)
    async def record_renew(self: Leases, sid: str, fence: int) -> Any:
        return await recorder.record("renew", sid, [fence], renew(self, sid, fence), lambda _: "renewed")

    @wraps(release)
    async def record_release(self: Leases, sid: str, fence: int) -> Any:
        act = release(self, sid, fence)
        return await recorder.record("release", sid, [fence], act, lambda done: "released" if done else "stale")

    @wraps(rescue)
    async def record_rescue(self: Due, sid: str) -> Any:
        return await recorder.record("rescue", sid, [], rescue(self, sid), lambda done: "rescued" if done else "alive")

    record_confirmations(recorder)
    Store._repeat_after = repeated  # type: ignore[method-assign]
    Confirmer.confirm = unconfirmed  # type: ignore[method-assign]
    Leases.claim, Leases.commit = record_claim, record_commit  # type: ignore[method-assign]
    Leases.renew, Leases.release = record_renew, record_release  # type: ignore[method-assign]
    Due.rescue = record_rescue  # type: ignore[method-assign]


def read_histories(folder: Path) -> dict[str, list[Op]]:
    """Return every session's operations, in the order in which they began."""
    found: dict[str, list[Op]] = defaultdict(list)
    for path in sorted(folder.glob("*.history")):
        asked: dict[int, dict[str, Any]] = {}
        answered: dict[int, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            if "confirmed" in one:
                continue
            (asked if "what" in one else answered)[one["n"]] = one
        for number, one in asked.items():
            end = answered.get(number)
            args = (*one["args"], bool(end and end["repeated"]))
            answer = None if end is None else end["answer"]
            answer = tuple(answer) if isinstance(answer, list) else answer
            found[one["sid"]].append(Op(one["what"], args, one["at"], end["at"] if end else None, answer))
    return {sid: sorted(ops, key=lambda op: op.began) for sid, ops in found.items()}


def split_at(ops: Iterable[Op], cuts: Iterable[float]) -> list[list[Op]]:
    """Return the parts of a history between moments at which the server went back in time.

    What was under way at such a moment may have happened before it, and may have been lost with it: it is unheard of in
    the earlier part, and belongs to the later one as it was answered. Was it not repeated, its answer may have been on its
    way when the moment came - its process was stopped, or slow - and then it counts for nothing afterwards.
    """
    parts: list[list[Op]] = [[]]
    left = list(ops)
    for cut in sorted(cuts):
        before = [op for op in left if op.ended is not None and op.ended <= cut]
        across = [op for op in left if op.began <= cut and (op.ended is None or op.ended > cut)]
        parts[-1] = before + [Op(op.what, op.args, op.began) for op in across]
        left = [
            replace(op, may_be_undone=op.may_be_undone or (op.ended is not None and not op.args[-1]))
            if op in across
            else op
            for op in left
            if op not in before
        ]
        parts.append(left)
    if len(parts) == 1:
        parts[0] = left
    return parts


def doubt(ops: Iterable[Op], spans: Iterable[tuple[float, float]]) -> list[Op]:
    """Return a history in which all that was answered in one of these spans may be undone.

    Two servers may have answered as one then: who stood still while another took over, and did not know it yet. Which of
    them it was that answered is not known, and what one of them did counts for nothing.
    """
    windows = list(spans)
    return [
        replace(op, may_be_undone=True)
        if op.ended is not None and any(op.began <= until and op.ended > since for since, until in windows)
        else op
        for op in ops
    ]


def judge_histories(
    histories: dict[str, list[Op]],
    *,
    lease_ms: float,
    cuts: Iterable[float] = (),
    spans: Iterable[tuple[float, float]] = (),
) -> list[str]:
    """Return a line for each session whose history neither one register nor one lock could have answered.

    `cuts` are the moments at which the store went back in time, `spans` those in which two servers may have answered.
    """
    wrong = []
    moments, windows = list(cuts), list(spans)
    for sid, ops in histories.items():
        for part in split_at(doubt(ops, windows), moments):
            for name, model, initial in (
                ("revisions", revisions, Revision()),
                ("leases", lease_model(lease_ms), Lease()),
            ):
                verdict = check_history(model, initial, part)
                if not verdict.is_linearizable:
                    wrong.append(f"{sid}: its {name} are not linearizable:\n{verdict.tell()}")
        wrong += [f"{sid}: {what}" for what in find_shrinking_fences(ops)]
    return wrong


def find_shrinking_fences(ops: Iterable[Op]) -> list[str]:
    """Return each claim that got no larger fence than one that was answered before it began: not even a server that went
    back in time gives one twice.
    """  # noqa: D205 - one sentence
    wrong: list[str] = []
    claims = [op for op in ops if op.what == "claim" and isinstance(op.answer, tuple)]
    for one in claims:
        earlier = max((op.answer[0] for op in claims if op.ended is not None and op.ended < one.began), default=0)
        if one.answer[0] <= earlier:
            wrong.append(f"fence {one.answer[0]} was given after {earlier}")
    return wrong
