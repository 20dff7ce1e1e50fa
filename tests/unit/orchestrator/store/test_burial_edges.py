"""What stands in a letter and around it: whatever is wrong with a session is named, and the rest of it is kept as it can be."""

import json

import pytest

from orchestrator.store.leases import Claimed, Commit
from orchestrator.store.unreadable import bury_unreadable
from tests.property.store_lab import APP, DIGEST, Lab, entry

FAR = 9_000_000_000_000
NUMBERS = ("since", "seq", "rev", "fence", "attempts", "posts")
WORDS = ("app", "spec", "rank", "phase", "status")


def bury(lab: Lab, session_id: str, fence: int | None = None) -> bool:
    """Look at a session at which an act failed."""
    return lab.run(bury_unreadable(lab.store, session_id, "it failed", fence=fence))


def letter(lab: Lab, session_id: str) -> str:
    """Return what the letter says."""
    told = json.loads(lab.snapshot(session_id).deadinfo or "{}")
    assert told["reason"] == "unreadable"
    return str(told["detail"])


def set_field(lab: Lab, session_id: str, field: str, value: str | int | None) -> None:
    """Set a field of the record, or remove it."""
    key = lab.key("record", session_id)
    lab.run(lab.store.command(*(("HDEL", key, field) if value is None else ("HSET", key, field, value))))


def scores(lab: Lab) -> set[str]:
    """Return the scores of everything in the index."""
    flat = lab.run(lab.store.command("ZRANGE", lab.store.keys.of_partition("by", 0), 0, -1, "WITHSCORES"))
    return set(flat[1::2])


def stat(lab: Lab, name: str) -> str | None:
    """Return one of the partition's counters."""
    found: str | None = lab.run(lab.store.command("HGET", lab.store.keys.of_partition("stats", 0), name))
    return found


@pytest.mark.parametrize("field", [*NUMBERS, *WORDS])
def test_a_field_that_is_missing_is_named(one: Lab, field: str) -> None:
    """A person mends what is named, and replays it; others in the partition are left where they are."""
    before, session_id, behind = one.submit(), one.submit(), one.submit()
    set_field(one, session_id, field, None)

    assert bury(one, session_id)
    assert letter(one, session_id) == f"its record has no {field}: it failed"
    assert [len(one.snapshot(other).members) for other in (before, behind)] == [1, 1]
    assert len(one.snapshot(session_id).members) == 1
    assert stat(one, "buried:unreadable") == "1"
    assert scores(one) == {"0"}


@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_that_is_none_is_named(one: Lab, field: str) -> None:
    """The scripts would fail on it at every wake-up."""
    session_id = one.submit()
    set_field(one, session_id, field, "x")

    assert bury(one, session_id)
    assert letter(one, session_id) == f"its record has no {field}: it failed"


@pytest.mark.parametrize("kind", ["journal", "context", "mailbox", "intents", "seen"])
def test_a_key_of_another_type_is_named(one: Lab, kind: str) -> None:
    """And left as it is: a person may find something in it."""
    session_id = one.submit(text="hello")
    one.run(one.store.command("SET", one.key(kind, session_id), "x"))

    assert bury(one, session_id)
    assert letter(one, session_id) == f"{kind} is a string: it failed"
    assert one.run(one.store.command("TYPE", one.key(kind, session_id))) == "string"
    assert one.snapshot(session_id).record["phase"] == "dead"


def test_a_record_that_is_none_is_a_letter_all_the_same(one: Lab) -> None:
    """Its journal goes on where it ended, or begins where there was none."""
    kept, lost = one.submit(), one.submit()
    for session_id in (kept, lost):
        one.run(one.store.command("SET", one.key("record", session_id), "x"))
    one.run(one.store.command("DEL", one.key("journal", lost)))

    assert bury(one, kept)
    assert bury(one, lost)
    assert letter(one, kept) == "record is a string: it failed"
    assert [number for number, _ in one.snapshot(kept).journal] == ["1-0", "2-0"]
    assert [number for number, _ in one.snapshot(lost).journal] == ["1-0"]
    assert [told.fence for _, told in one.snapshot(lost).journal] == [0]
    assert (one.snapshot(kept).members, one.snapshot(lost).members) == ([], [])


@pytest.mark.parametrize(("seq", "after"), [(5, "6-0"), (1, "4-0")])
def test_a_journal_that_ends_elsewhere_is_named_and_gone_on_with_behind_both(one: Lab, seq: int, after: str) -> None:
    """No number is given twice, whichever of the two was right."""
    session_id = one.submit()
    for number in (2, 3):
        one.run(one.store.command("XADD", one.key("journal", session_id), f"{number}-0", "t", 1, "e", entry()))
    set_field(one, session_id, "seq", seq)

    assert bury(one, session_id)
    assert letter(one, session_id) == f"its journal ends at 3, the record says {seq}: it failed"
    now = one.snapshot(session_id)
    assert now.journal[-1][0] == after
    assert f"{now.record['seq']}-0" == after


def test_a_session_without_a_journal_begins_one_behind_what_it_knew(one: Lab) -> None:
    """Its numbers go on; what is wrong otherwise is named."""
    session_id = one.submit()
    one.run(one.store.command("DEL", one.key("journal", session_id)))
    set_field(one, session_id, "seq", 7)
    set_field(one, session_id, "spec", None)

    assert bury(one, session_id)
    assert letter(one, session_id) == "its record has no spec: it failed"
    assert [number for number, _ in one.snapshot(session_id).journal] == ["8-0"]


def test_a_holders_word_is_enough_and_its_fence_is_passed(one: Lab) -> None:
    """Nobody who held it may bring it back, not even where the clock is behind; its word is told as it was said."""
    session_id = one.submit()
    set_field(one, session_id, "fence", FAR)

    assert not bury(one, session_id)
    assert not bury(one, session_id, FAR - 1)
    assert bury(one, session_id, FAR)
    now = one.snapshot(session_id)
    assert (letter(one, session_id), now.record["fence"]) == ("it failed", str(FAR + 1))
    assert (now.journal[-1][1].kind, now.journal[-1][1].fence) == ("buried", FAR)
    assert [member.split(":")[:3] for member in now.members] == [[APP, "dead", "-"]]
    assert bury(one, session_id)
    assert one.snapshot(session_id) == now


def test_what_is_wrong_goes_before_a_holders_word(one: Lab) -> None:
    """The holder saw that it cannot go on; the store knows why."""
    session_id = one.submit()
    set_field(one, session_id, "fence", FAR)
    set_field(one, session_id, "spec", None)

    assert bury(one, session_id, FAR)
    assert letter(one, session_id) == "its record has no spec: it failed"


def test_nothing_of_a_letter_is_left_in_the_partitions_lists(one: Lab) -> None:
    """Neither a wait, nor a wake-up, nor a lease; one letter of each that was there before is left alone."""
    session_id, other = one.submit(), one.submit()
    for name in ("due", "sent", "leases"):
        for each in (session_id, other):
            one.run(one.store.command("ZADD", one.key(name, each), FAR, each))
    set_field(one, session_id, "spec", None)

    assert bury(one, session_id)
    now, beside = one.snapshot(session_id), one.snapshot(other)
    assert (now.due, now.sent, now.lease) == (None, None, None)
    assert (beside.due, beside.sent, beside.lease) == (FAR, FAR, FAR)


def test_a_letter_that_a_step_asked_for_is_one_entry_one_place_and_one_count(one: Lab) -> None:
    """Through every phase before it, everything in the index has the same score: its order is that of the text."""
    session_id = one.submit()
    found = [scores(one)]
    held = one.run(one.leases.claim(session_id, "w:1", (DIGEST,), known=0))
    assert isinstance(held, Claimed)
    found.append(scores(one))
    waits = Commit("waiting", {"wait_id": "q"}, (entry(),), asks="input")
    one.commit(session_id, held.record.fence, held.record.rev, waits)
    found.append(scores(one))
    asked = one.snapshot(session_id).members
    one.run(one.store.command("ZADD", one.key("due", session_id), 1, session_id))
    held = one.run(one.leases.claim(session_id, "w:2", (DIGEST,), known=0))
    assert isinstance(held, Claimed)
    set_field(one, session_id, "fence", FAR)
    one.commit(session_id, FAR, held.record.rev, Commit("dead", {}, (entry(),), reason="why", status="so"))
    found.append(scores(one))
    now = one.snapshot(session_id)

    assert found == [{"0"}] * 4
    assert sorted(member.split(":")[1] for member in asked) == ["asks/input", "waiting"]
    assert [member.split(":")[:3] for member in now.members] == [[APP, "dead", "-"]]
    assert [number for number, _ in now.journal] == [f"{number}-0" for number in range(1, len(now.journal) + 1)]
    assert (now.record["seq"], now.record["fence"]) == (str(len(now.journal)), str(FAR + 1))
    assert (stat(one, "buried:why"), stat(one, f"submitted:{APP}")) == ("1", "1")
