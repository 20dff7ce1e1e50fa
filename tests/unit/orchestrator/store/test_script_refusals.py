"""Bad input is refused before the first write: Lua errors are not rolled back, so nothing may be half done."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from orchestrator.contracts.errors import LeaseLost, PayloadTooLarge, StoreError
from orchestrator.store.leases import Claimed, Commit, Leases
from orchestrator.store.store import Limits
from orchestrator.store.wire import ServerRefused
from tests.property.store_lab import DIGEST, SMALL, Lab, entry

BAD_NUMBERS = ("", "x", "-1", "1.5", "nan", "1e30", "0x", "1e3", "0x10", "007", " 5", "5 ")
COUNTS = ("fields", "entries", "messages", "taken", "intents", "cleared", "counters")


def everything(lab: Lab) -> dict[str, Any]:
    """Return all that the server holds, key by key."""

    async def read() -> dict[str, Any]:
        keys = sorted(await lab.store.command("KEYS", "*"))
        return {key: await lab.store.command("DUMP", key) for key in keys}

    return lab.run(read())


def held(lab: Lab) -> tuple[str, int, int]:
    """Return a session under a lease with a post in its mailbox: id, fence, revision."""
    session_id = lab.submit(text="hello")
    claimed = lab.run(lab.leases.claim(session_id, "w:1", (DIGEST,)))
    assert isinstance(claimed, Claimed)
    return session_id, claimed.record.fence, claimed.record.rev


def commit_args(session_id: str, fence: int, rev: int, directive: str = "ready") -> tuple[list[Any], dict[str, int]]:
    """Return a good commit's arguments, as the script gets them, and at which place each number of it stands."""
    store = ArgumentsOnly(SMALL)
    leases = Leases(store, lease_seconds=60, max_attempts=3)  # type: ignore[arg-type]
    commit = Commit(
        directive,  # type: ignore[arg-type]
        {"state": "{}"},
        (entry(),),
        ('{"role":"user"}',),
        intents={"call-1": "{}"},
        due_at=7_777_777,
        sent_ms=8_888,
        counters={"step:compute:succeeded:1": 3},
    )
    with suppress(ArgumentsSeen):
        asyncio.run(leases.commit(session_id, fence, rev, commit))
    args = store.args
    first_count = args.index(SMALL.context_messages) + 1
    places = {"due": args.index(7_777_777), "sent": args.index(8_888), "fence": args.index(fence)}
    return args, places | {name: first_count + number for number, name in enumerate(COUNTS)}


class ArgumentsSeen(Exception):
    """The arguments are known."""


class ArgumentsOnly:
    """A store that takes an act's arguments down instead of doing it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.args: list[Any] = []

    async def act(self, name: str, *args: Any, critical: bool = False) -> list[Any]:
        self.args = list(args)
        raise ArgumentsSeen


def refuse(lab: Lab, name: str, *args: Any) -> str:
    """Do an act that must be refused, and return how; fail if anything was written."""
    before = everything(lab)

    try:
        reply = lab.run(lab.store.act(name, *args))
        said = str(reply[0])
    except ServerRefused as error:
        said = error.code

    assert everything(lab) == before, f"{name} {args} wrote something and then answered {said}"
    return said


def test_a_good_commit_is_taken(lab: Lab) -> None:
    """What the other tests break is good before they break it."""
    session_id, fence, rev = held(lab)

    reply = lab.run(lab.store.act("commit", *commit_args(session_id, fence, rev)[0]))

    assert reply[0] == "committed", reply


@pytest.mark.parametrize("bad", BAD_NUMBERS)
@pytest.mark.parametrize("place", ["due", "sent", *COUNTS])
def test_a_commit_with_a_bad_number_writes_nothing(lab: Lab, place: str, bad: str) -> None:
    """A count that is no count would shift every value behind it."""
    session_id, fence, rev = held(lab)
    args, places = commit_args(session_id, fence, rev)
    args[places[place]] = bad
    if (place, bad) == ("due", "-1"):
        args[places["sent"]] = "-1"  # for `due`, -1 means that no time is set

    assert refuse(lab, "commit", *args) == "malformed"


@pytest.mark.parametrize("directive", ["waiting", "ended", "dead", "finalizing", "continue", "ready"])
@pytest.mark.parametrize("step", [1, -1])
def test_a_commit_whose_counts_do_not_add_up_writes_nothing(lab: Lab, directive: str, step: int) -> None:
    """Counts that are too large or too small by one, in every place."""
    session_id, fence, rev = held(lab)
    for place in COUNTS:
        args, places = commit_args(session_id, fence, rev, directive)
        args[places[place]] += step
        answer = refuse(lab, "commit", *args)
        assert answer == ("refused" if directive == "ended" else "malformed"), place


def test_a_commit_without_a_journal_entry_is_refused(lab: Lab) -> None:
    """Invariant 10: everything that changes a session has an entry."""
    session_id, fence, rev = held(lab)

    with pytest.raises(StoreError, match="malformed"):
        lab.commit(session_id, fence, rev, Commit("ready", {}))


LARGE: dict[str, Callable[[], Commit]] = {
    "state": lambda: Commit("ready", {"state": "x" * 2_001}, (entry(),)),
    "message": lambda: Commit("ready", {}, (entry(),), ("x" * 1_001,)),
    "journal entry": lambda: Commit("ready", {}, ("x" * 4_001,)),
    "context messages": lambda: Commit("ready", {}, (entry(),), tuple("x" for _ in range(20_001))),
    "journal": lambda: Commit("ready", {}, tuple(entry() for _ in range(400))),
}


@pytest.mark.parametrize("what", sorted(LARGE))
def test_a_commit_over_a_limit_writes_nothing(lab: Lab, what: str) -> None:
    """Invariant 12: every payload has a limit with a clear error at it."""
    session_id, fence, rev = held(lab)
    before = everything(lab)

    with pytest.raises(PayloadTooLarge, match=what) as refused:
        lab.commit(session_id, fence, rev, LARGE[what]())

    assert refused.value.size > refused.value.limit
    assert everything(lab) == before


@pytest.mark.parametrize(
    ("before", "directive"),
    [
        ("running", "ended"),
        ("running", "nonsense"),
        ("finalizing", "ready"),
        ("finalizing", "waiting"),
        ("released", "ready"),
        ("released", "waiting"),
        ("released", "continue"),
    ],
)
def test_a_change_of_phase_that_the_table_does_not_have_writes_nothing(lab: Lab, before: str, directive: str) -> None:
    """Only the finaliser ends a session, and nobody goes on with what was handed back."""
    session_id, fence, rev = held(lab)
    if before == "released":
        lab.run(lab.leases.release(session_id, fence))
    if before == "finalizing":
        lab.commit(session_id, fence, rev, Commit("finalizing", {}, (entry(),)))
        claimed = lab.run(lab.leases.claim(session_id, "w:2", (DIGEST,)))
        assert isinstance(claimed, Claimed)
        fence, rev = claimed.record.fence, claimed.record.rev
    args, _ = commit_args(session_id, fence, rev, directive)

    assert refuse(lab, "commit", *args) == "refused"


def test_a_stale_fence_or_revision_writes_nothing(lab: Lab) -> None:
    """Invariant 1: only the newest holder, and only on what it read."""
    session_id, fence, rev = held(lab)

    for wrong in ((fence - 1, rev), (fence + 1, rev), (fence, rev + 1), ("", ""), (f"{fence} ", rev)):
        args, places = commit_args(session_id, fence, rev)
        args[places["fence"] : places["fence"] + 2] = wrong
        assert refuse(lab, "commit", *args) == "stale"
    with pytest.raises(LeaseLost):
        lab.commit(session_id, fence - 1, rev, Commit("ready", {}, (entry(),)))


@pytest.mark.parametrize("what", ["limit", "odd", "rev", "fence", "older", "full"])
def test_a_step_that_only_advances_is_held_to_the_same_rules(lab: Lab, what: str) -> None:
    """It goes by a shorter way, so each check of the longer one is made again here."""
    session_id, fence, rev = held(lab)
    good: list[Any] = [fence, rev, 400, entry(), "state", "{}"]
    wrong: dict[str, tuple[list[Any], str]] = {
        "limit": ([fence, rev, "x", *good[3:]], "malformed"),
        "odd": ([*good, "cursor"], "malformed"),
        "rev": ([fence, "1.5", *good[2:]], "malformed"),
        "fence": ([fence + 1, *good[1:]], "stale"),
        "older": ([fence - 1, *good[1:]], "stale"),
        "full": ([fence, rev, 1, *good[3:]], "large"),
    }
    args, answer = wrong[what]

    assert refuse(lab, "advance", session_id, *args) == answer


def test_a_step_that_only_advances_is_committed_once(lab: Lab) -> None:
    """A lost reply is asked for again; a release hands back what the step left."""
    session_id, fence, rev = held(lab)
    commit = Commit("continue", {"state": '{"n":1}'}, (entry(),))

    assert commit.only_advances
    assert not lab.commit(session_id, fence, rev, commit).replayed
    assert refuse(lab, "advance", session_id, fence, rev, 400, entry(), "state", '{"n":2}') == "committed"
    assert lab.commit(session_id, fence, rev, commit).replayed
    assert lab.snapshot(session_id).record["attempts"] == "0"
    lab.run(lab.leases.release(session_id, fence))
    assert refuse(lab, "advance", session_id, fence, rev + 1, 400, entry(), "state", "{}") == "refused"


@pytest.mark.parametrize("bad", BAD_NUMBERS)
def test_the_other_acts_refuse_bad_numbers_before_they_write(lab: Lab, bad: str) -> None:
    """Each act checks what it is given, however it came to be wrong."""
    session_id, fence, _ = held(lab)
    ready = lab.submit()

    claim = ["w:9", 60_000, 3, 0, 0, 0, 1, DIGEST]
    for place in (1, 2, 3, 6):
        args = [*claim[:place], bad, *claim[place + 1 :]]
        if (place, bad) != (3, "-1"):
            assert refuse(lab, "claim", ready, *args) == "malformed"
    assert refuse(lab, "renew", session_id, fence, bad) == "malformed"
    post = ["p1", "{}", entry("posted"), "", 3, "", "bell", "cancels", 0, 1]
    for place in (4, 9):
        assert refuse(lab, "post", session_id, *post[:place], bad, *post[place + 1 :]) == "malformed"
    assert refuse(lab, "replay", session_id, entry("replayed"), "bell", "{}", bad, "r1", 0) == "malformed"
    assert refuse(lab, "submit", "SES-20260101-001", "d", "bell", entry("submitted"), bad, "app", "x") == "malformed"


@pytest.mark.parametrize("fields", [("rank", "1"), ("app", "x"), ("app",), ()])
def test_a_submission_without_its_place_in_line_writes_nothing(lab: Lab, fields: tuple[str, ...]) -> None:
    """A session that is in no line would never run."""
    said = refuse(lab, "submit", "SES-20260101-001", "d", "bell", entry("submitted"), len(fields) // 2 or 1, *fields)

    assert said == "malformed"


def test_acts_on_a_session_that_is_not_there_write_nothing(lab: Lab) -> None:
    """A wake-up or a post for an id that means nothing leaves no trace."""
    gone = "SES-20260101-404"

    assert refuse(lab, "claim", gone, "w:1", 60_000, 3, 0, 0, 0, 1, DIGEST) == "missing"
    assert refuse(lab, "commit", *commit_args(gone, 1, 0)[0]) == "missing"
    assert refuse(lab, "advance", gone, 1, 0, 400, entry(), "state", "{}") == "missing"
    assert refuse(lab, "post", gone, "p1", "{}", entry("posted"), "", 3, "", "bell", "cancels", 0, 1) == "missing"
    assert refuse(lab, "renew", gone, 1, 60_000) == "stale"
    assert refuse(lab, "release", gone, 1) == "stale"
    assert refuse(lab, "rescue", gone) == "alive"
    assert refuse(lab, "wake", gone) == "early"
    assert refuse(lab, "replay", gone, entry("replayed"), "bell", "", 1, "r1", 0) == "missing"
    assert refuse(lab, "bury", gone, "why", "") == "missing"
