"""The ledger: what was acknowledged, what the journals say, and what the outside world shows - they must agree.

Lost: acknowledged and not taken. Twice: taken again. Reordered: taken in another order than posted. An effect is
silent when it happened more often than the journal and the people who were asked know of.

A server that lost power may have lost what it had acknowledged. Who drives the sessions finds out what, and has it in
`Told.lost`; the ledger counts that as forgotten, and as wrong where it was promised safe (`is_safe`), or where no cut
explains it: it was acknowledged before anything may be gone, or lies in another part of the store. An act that
was announced by what was lost is repeated unnoticed: it is excused if it happened within what such a moment may take, or
after it, for each announcement that is known to be lost: whoever is about to act hears nothing of a server that dies meanwhile.

Pure: it judges values, which `evidence` gathers.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.client import Client
from orchestrator.contracts.errors import Unreadable
from orchestrator.contracts.session import Entry
from orchestrator.kernel.rebuild import find_differences, fold
from tests.chaos.cuts import Windows
from tests.chaos.driver import Driver, Told, bare
from tests.chaos.evidence import Evidence, Outside, Seen, gather_evidence


@dataclass
class Ledger:
    """The sums, and a line for everything that is wrong."""

    sessions: int = 0
    ended: int = 0
    messages: int = 0
    doubled_posts: int = 0
    lost: int = 0
    committed_twice: int = 0
    reordered: int = 0
    questions: int = 0
    approvals: int = 0
    timers: int = 0
    notes: int = 0
    acts: int = 0
    uncertain: int = 0
    orphaned: int = 0
    steps: int = 0
    forgotten: Counter[str] = field(default_factory=Counter)
    repeated_by_loss: int = 0
    wrong: list[str] = field(default_factory=list)
    journals: dict[str, list[Entry]] = field(default_factory=dict)

    def say(self, told: Told, what: str) -> None:
        """Note something that must not be."""
        self.wrong.append(f"{told.session_id}: {what}")


async def settle_ledger(client: Client, driver: Driver) -> Ledger:
    """Gather the evidence and judge it."""
    return judge(await gather_evidence(client, driver))


def judge(
    evidence: Evidence,
    *,
    cuts_of: Callable[[str], Windows] = lambda _: (),
    taken_of: Callable[[str], Sequence[float]] = lambda _: (),
    is_safe: bool = True,
) -> Ledger:
    """Return the sums, and a line for everything that is wrong.

    `cuts_of` says when the part of the store that a session is in went back, `taken_of` the moments that took a critical commit of a
    session, once for each such commit; `is_safe` that no such cut may lose anything.
    """
    ledger = Ledger(sessions=len(evidence.sessions))
    for seen in evidence.sessions:
        ledger.journals[seen.told.session_id] = seen.journal
        _check_end(ledger, seen, evidence.messages)
        _check_messages(ledger, seen)
        _check_waits(ledger, seen)
        sid = seen.told.session_id
        cuts, taken = ((), ()) if is_safe else (cuts_of(sid), taken_of(sid))
        _check_effects(ledger, seen, evidence.outside, cuts, taken)
        _check_rebuild(ledger, seen)
        ledger.forgotten.update(line.split(" ", 1)[0] for line in seen.told.lost)
        for line in seen.told.lost if is_safe else seen.told.unexplained:
            ledger.say(seen.told, f"acknowledged and lost: {line}")
    return ledger


def _check_end(ledger: Ledger, seen: Seen, messages: int) -> None:
    told, record = seen.told, seen.record
    ledger.ended += record.phase == "ended"
    if (record.phase, record.status, record.reason) != ("ended", "done", "default"):
        ledger.say(told, f"it is {record.phase} as {record.status!r} for {record.reason!r}")
    if record.state.get("log") != list(range(1, messages + 1)):
        ledger.say(told, f"its state counted {record.state.get('log')}")
    settled = (record.phase, record.status, record.rev)
    if told.settled is not None and told.settled != settled:
        ledger.say(told, f"it was settled as {told.settled}, and then became {settled}")
    ends = sum(entry.kind == "step" and entry.set.get("phase") == "ended" for entry in seen.journal)
    if ends > 1:
        ledger.say(told, f"it was settled {ends} times")


def _taken(journal: list[Entry]) -> list[tuple[str, str]]:
    """Return every post that a committed step took, in order, with what it did."""
    taken = []
    for entry in journal:
        notes = entry.data.get("posts")
        for note in notes if isinstance(notes, list) else []:
            if isinstance(note, dict) and "post" in note:
                taken.append((bare(str(note["post"])), str(note["what"])))  # noqa: PERF401 - three loops in one are no clearer
    return taken


def _check_messages(ledger: Ledger, seen: Seen) -> None:
    told, record, journal = seen.told, seen.record, seen.journal
    posted = [bare(str(entry.data["post"]["post_id"])) for entry in journal if entry.kind == "posted"]  # type: ignore[call-overload, index]
    taken = [post for post, _ in _taken(journal)]
    signals = [post for post in taken if post.startswith("m")]
    ledger.messages += len(told.posts)
    ledger.doubled_posts += told.doubled
    ledger.steps += sum(entry.kind == "step" for entry in journal)
    ledger.orphaned += sum(entry.kind == "orphaned" for entry in journal)
    missing = sorted(set(told.posts) - set(signals))
    ledger.lost += len(missing)
    if missing:
        ledger.say(told, f"acknowledged and never taken: {missing}")
    twice = len(taken) - len(set(taken)) + len(posted) - len(set(posted))
    ledger.committed_twice += twice
    if twice:
        ledger.say(told, f"taken or posted twice: {[one for one, count in Counter(taken).items() if count > 1]}")
    if signals != sorted(signals, key=lambda post: int(post[1:])) or taken != posted:
        ledger.reordered += 1
        ledger.say(told, f"posted {posted}, taken {taken}")
    if record.state.get("heard", []) != told.answers:
        ledger.say(told, f"answered {told.answers}, heard {record.state.get('heard')}")
    ledger.questions += len(told.answers)


def _check_waits(ledger: Ledger, seen: Seen) -> None:
    """Every timer runs out once, every approval is asked once and used once."""
    told, journal = seen.told, seen.journal
    began, over = Counter[str](), Counter[str]()
    for entry in journal:
        if entry.outcome == "suspended" and entry.data.get("wait") == "timer" and entry.skill == "pause":
            began[entry.set["wait_id"]] += 1
        notes = entry.data.get("posts")
        for note in notes if isinstance(notes, list) else []:
            if isinstance(note, dict) and note.get("what") == "deadline" and note.get("kind") == "timer":
                over[str(note["wait"])] += 1
    ledger.timers += sum(over.values())
    if began != over or any(count != 1 for count in over.values()):
        ledger.say(told, f"timers began {began}, ran out {over}")
    approved = [call.call_id for entry in journal for call in entry.calls if call.outcome == "approved"]
    ledger.approvals += len(approved)
    if len(approved) != len(set(approved)) or len(approved) != len(told.permits):
        ledger.say(told, f"permitted {told.permits}, used {approved}")
    if sorted(told.permits) != sorted(set(told.permits)):
        ledger.say(told, f"a question was asked twice: {told.permits}")


def _check_effects(ledger: Ledger, seen: Seen, outside: Outside, cuts: Windows, taken: Sequence[float]) -> None:
    """Compare the calls of the journal with what the tools did: once a key, or with a person's word."""
    told, record, journal = seen.told, seen.record, seen.journal
    retried = Counter[str]()
    for entry in journal:
        notes = entry.data.get("posts")
        for note in notes if isinstance(notes, list) else []:
            if isinstance(note, dict) and note.get("what") == "retry":
                retried[_asked_number(journal, entry)] += 1
    called = Counter[str]()
    for entry in journal:
        for call in entry.calls:
            number = str(call.args.get("number"))
            if call.tool.endswith(":act"):
                ledger.acts += 1
                called[number] += 1
            else:
                name = call.tool.rsplit(":", 1)[1]
                ledger.notes += name == "note"
                if str(call.args["idempotency_key"]).replace("/", "_") not in outside.keys.get(name, ()):
                    ledger.say(told, f"{name} {number} was committed and did not happen")
    for number in called.keys() | {one for sid, one in outside.acts if sid == told.session_id}:
        times = outside.acts.get((told.session_id, number), [])
        allowed = 1 + retried[number]
        excused = _count_excused(times, cuts, taken)
        ledger.repeated_by_loss += max(min(len(times) - allowed, excused), 0)
        if not called[number]:
            ledger.say(told, f"act {number} happened {len(times)} times, and no journal knows of it")
        elif not 1 <= len(times) <= allowed + excused:
            ledger.say(
                told,
                f"act {number} happened {len(times)} times, {retried[number]} retries were allowed{_tell(times, cuts)}",
            )
    ledger.uncertain += sum(told.uncertain.values())
    for name in ("notes", "acts", "permits"):
        numbers = record.state.get(name, [])
        if not isinstance(numbers, list) or len(numbers) != len({str(number) for number in numbers}):
            ledger.say(told, f"{name} were committed as {numbers}")


def _count_excused(times: Sequence[float], cuts: Windows, taken: Sequence[float]) -> int:
    """Return how many of these acts may have been announced by what is gone."""
    within = [at for at in times if any(cut - back <= at <= cut for cut, back in cuts)]
    after = [at for at in times if at not in within and any(cut < at for cut in taken)]
    return len(within) + min(len(after), len(taken))


def _tell(times: Sequence[float], cuts: Windows) -> str:
    """Say how long after a cut each act was, and how far back that one went."""
    near = [min(((at - cut, back) for cut, back in cuts), key=lambda one: abs(one[0])) for at in times if cuts]
    return "".join(f"; {after:+.0f} ms from a cut of {back:.0f} ms" for after, back in near)


def _asked_number(journal: list[Entry], answered: Entry) -> str:
    """Return which act was uncertain when this answer was taken."""
    wait = next(entry.set["wait"] for entry in reversed(journal[: answered.seq - 1]) if entry.set.get("wait"))
    return wait.split('"number":', 1)[1].split("}", 1)[0].split(",", 1)[0]


def _check_rebuild(ledger: Ledger, seen: Seen) -> None:
    """The journal alone gives the session again, whatever happened to it."""
    try:
        rebuilt = fold(seen.journal)
    except Unreadable as error:
        ledger.say(seen.told, f"its journal is broken: {error}")
        return
    for difference in find_differences(seen.record, seen.context, seen.posts, rebuilt):
        ledger.say(seen.told, f"journal and record differ: {difference}")
