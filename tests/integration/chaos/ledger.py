"""The ledger: what was acknowledged, what the journals say, and what the outside world shows - they must agree.

Lost: acknowledged and not taken. Twice: taken again. Reordered: taken in another order than posted. An effect is
silent when it happened more often than the journal and the people who were asked know of.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.client import Client
from orchestrator.contracts.session import Entry, Record
from orchestrator.kernel.rebuild import find_differences, fold
from tests.integration.chaos.driver import Driver, Told, read_lines
from tests.integration.chaos.monkey import Blow


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
    wrong: list[str] = field(default_factory=list)
    journals: dict[str, list[Entry]] = field(default_factory=dict)

    def say(self, told: Told, what: str) -> None:
        """Note something that must not be."""
        self.wrong.append(f"{told.session_id}: {what}")


async def settle_ledger(client: Client, driver: Driver) -> Ledger:
    """Read every journal and compare it with what was acknowledged and with what happened outside."""
    ledger = Ledger(sessions=len(driver.told))
    outside = Counter(read_lines(driver.folder / "act.calls"))
    for told in driver.told.values():
        record = await client.show(told.session_id)
        journal = [entry async for entry in client.events(told.session_id)]
        ledger.journals[told.session_id] = journal
        _check_end(ledger, told, record, driver.messages)
        _check_messages(ledger, told, record, journal)
        _check_waits(ledger, told, record, journal)
        _check_effects(ledger, told, record, journal, outside, driver.folder)
        await _check_rebuild(ledger, told, record, journal, client)
    return ledger


def _check_end(ledger: Ledger, told: Told, record: Record, messages: int) -> None:
    ledger.ended += record.phase == "ended"
    if (record.phase, record.status, record.reason) != ("ended", "done", "default"):
        ledger.say(told, f"it is {record.phase} as {record.status!r} for {record.reason!r}")
    if record.state.get("log") != list(range(1, messages + 1)):
        ledger.say(told, f"its state counted {record.state.get('log')}")


def _taken(journal: list[Entry]) -> list[tuple[str, str]]:
    """Return every post that a committed step took, in order, with what it did."""
    taken = []
    for entry in journal:
        notes = entry.data.get("posts")
        for note in notes if isinstance(notes, list) else []:
            if isinstance(note, dict) and "post" in note:
                taken.append((str(note["post"]), str(note["what"])))  # noqa: PERF401 - three loops in one are no clearer
    return taken


def _check_messages(ledger: Ledger, told: Told, record: Record, journal: list[Entry]) -> None:
    posted = [str(entry.data["post"]["post_id"]) for entry in journal if entry.kind == "posted"]  # type: ignore[call-overload, index]
    taken = [post for post, _ in _taken(journal)]
    signals = [post for post in taken if post.startswith("m")]
    ledger.messages += len(told.posts)
    ledger.doubled_posts += told.doubled
    ledger.steps += sum(entry.kind == "step" for entry in journal)
    ledger.orphaned += sum(entry.kind == "orphaned" for entry in journal)
    ledger.lost += len(set(told.posts) - set(signals))
    ledger.committed_twice += len(taken) - len(set(taken)) + len(posted) - len(set(posted))
    if signals != sorted(signals, key=lambda post: int(post[1:])) or taken != posted:
        ledger.reordered += 1
        ledger.say(told, f"posted {posted}, taken {taken}")
    if record.state.get("heard", []) != told.answers:
        ledger.say(told, f"answered {told.answers}, heard {record.state.get('heard')}")
    ledger.questions += len(told.answers)


def _check_waits(ledger: Ledger, told: Told, record: Record, journal: list[Entry]) -> None:
    """Every timer runs out once, every approval is asked once and used once."""
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


def _check_effects(
    ledger: Ledger, told: Told, record: Record, journal: list[Entry], outside: Counter[str], folder: Path
) -> None:
    """Compare the calls of the journal with what the tools did: once a key, or with a person's word."""
    retried = Counter[str]()
    for entry in journal:
        notes = entry.data.get("posts")
        for note in notes if isinstance(notes, list) else []:
            if isinstance(note, dict) and note.get("what") == "retry":
                retried[_asked_number(journal, entry)] += 1
    for entry in journal:
        for call in entry.calls:
            number = str(call.args.get("number"))
            if call.tool.endswith(":act"):
                ledger.acts += 1
                done = outside[f"{told.session_id} {number}"]
                if not 1 <= done <= 1 + retried[number]:
                    ledger.say(told, f"act {number} happened {done} times, {retried[number]} retries were allowed")
            else:
                name = call.tool.rsplit(":", 1)[1]
                ledger.notes += name == "note"
                if not (folder / name / str(call.args["idempotency_key"]).replace("/", "_")).exists():
                    ledger.say(told, f"{name} {number} was committed and did not happen")
    ledger.uncertain += sum(told.uncertain.values())
    for name in ("notes", "acts", "permits"):
        numbers = record.state.get(name, [])
        if not isinstance(numbers, list) or len(numbers) != len({str(number) for number in numbers}):
            ledger.say(told, f"{name} were committed as {numbers}")


def _asked_number(journal: list[Entry], answered: Entry) -> str:
    """Return which act was uncertain when this answer was taken."""
    wait = next(entry.set["wait"] for entry in reversed(journal[: answered.seq - 1]) if entry.set.get("wait"))
    return wait.split('"number":', 1)[1].split("}", 1)[0].split(",", 1)[0]


async def _check_rebuild(ledger: Ledger, told: Told, record: Record, journal: list[Entry], client: Client) -> None:
    """The journal alone gives the session again, whatever happened to it."""
    key = client.store.keys.of_session("context", told.session_id)
    messages = await client.store.command("LRANGE", key, 0, -1)
    posts = await client.store.command("LLEN", client.store.keys.of_session("mailbox", told.session_id))
    for difference in find_differences(record, messages, int(posts), fold(journal)):
        ledger.say(told, f"journal and record differ: {difference}")


@dataclass(frozen=True)
class Recovery:
    """How a session went on whose worker was killed: seconds until its next commit, and what else struck meanwhile.

    `is_struck`: the next holder was killed or stopped too. `is_led`: no scheduler was struck meanwhile.
    """

    session_id: str
    killed_at: int
    seconds: float
    is_struck: bool
    is_led: bool


def list_recoveries(ledger: Ledger, blows: Sequence[Blow], *, failover_seconds: float) -> list[Recovery]:
    """Return how every session went on that a killed worker had in its hands."""
    found = []
    for blow in blows:
        for session_id in blow.held:
            later = [entry for entry in ledger.journals[session_id] if entry.at > blow.at]
            step = next((entry for entry in later if entry.kind == "step"), None)
            if step is None:
                continue  # it was at its end, and is checked as ended
            orphaned = sum(entry.kind == "orphaned" for entry in later if entry.seq < step.seq)
            meanwhile = [one for one in blows if one is not blow and blow.at - one.lasts_ms <= one.at <= step.at]
            pid = int(step.actor.split(":")[1])
            is_struck = orphaned > 1 or any(pid in one.pids for one in meanwhile)
            early = blow.at - int(failover_seconds * 1000)
            is_led = not any(one.role == "scheduler" and early - one.lasts_ms <= one.at <= step.at for one in blows)
            found.append(Recovery(session_id, blow.at, (step.at - blow.at) / 1000, is_struck, is_led))
    return found


def tell_recovery(ledger: Ledger, blows: Sequence[Blow], one: Recovery) -> str:
    """Return what happened around a recovery, in seconds from the kill: for whoever has to find out why it took long."""
    lines = [
        (entry.at, f"journal {entry.kind} {entry.step or ''} by {entry.actor} with {entry.fence - one.killed_at}")
        for entry in ledger.journals[one.session_id]
    ]
    lines += [(blow.at, f"{blow.what} {blow.role} {blow.pids} for {blow.lasts_ms} ms") for blow in blows]
    near = sorted(line for line in lines if -10_000 <= line[0] - one.killed_at <= 12_000)
    head = f"{one.session_id}: {one.seconds:.2f} s"
    return "\n".join([head, *(f"  {(at - one.killed_at) / 1000:+7.2f} {what}" for at, what in near)])
