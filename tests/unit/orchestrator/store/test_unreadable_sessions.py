"""What cannot be read becomes a dead letter at its next wake-up: never a crash loop, and nobody else is held up."""

import pytest

from orchestrator.contracts.errors import SessionNotFound, Unreadable
from orchestrator.store.leases import Claimed, ClaimedUnreadable
from orchestrator.store.unreadable import bury_unreadable
from orchestrator.store.wire import ServerRefused
from tests.property.store_lab import APP, DIGEST, Lab

#: Ways in which a bug, an operator or a bad restore may leave a session; `{s}` is its own key of that kind.
DAMAGE: dict[str, tuple[tuple[str, ...], ...]] = {
    "no app": (("HDEL", "record", "app"),),
    "no rank": (("HDEL", "record", "rank"),),
    "no time": (("HDEL", "record", "since"),),
    "no revision": (("HDEL", "record", "rev"),),
    "a revision that is no number": (("HSET", "record", "rev", "x"),),
    "a fence that is no number": (("HSET", "record", "fence", "x"),),
    "attempts that are no number": (("HSET", "record", "attempts", "many"),),
    "a number of entries that is wrong": (("HSET", "record", "seq", "0"),),
    "a number of entries that is no number": (("HSET", "record", "seq", "x"),),
    "a journal of another type": (("DEL", "journal"), ("SET", "journal", "x")),
    "a mailbox of another type": (("DEL", "mailbox"), ("SET", "mailbox", "x"), ("HSET", "record", "posts", "1")),
    "a context of another type": (("DEL", "context"), ("SET", "context", "x")),
    "intents of another type": (("DEL", "intents"), ("SET", "intents", "x")),
}


def damage(lab: Lab, session_id: str, how: str) -> None:
    """Do the damage."""
    for command, name, *rest in DAMAGE[how]:
        lab.run(lab.store.command(command, lab.key(name, session_id), *rest))


def attempt(lab: Lab, session_id: str) -> str:
    """Do what a worker does with a wake-up: claim, and look closer where an act fails; return what came of it."""
    try:
        claimed = lab.run(lab.leases.claim(session_id, "w:1", (DIGEST,), known=0))
    except ServerRefused as error:
        return "buried" if lab.run(bury_unreadable(lab.store, session_id, str(error))) else "readable"
    if isinstance(claimed, ClaimedUnreadable):
        assert lab.run(bury_unreadable(lab.store, session_id, claimed.error, fence=claimed.fence))
        return "buried"
    return "claimed" if isinstance(claimed, Claimed) else claimed.answer


@pytest.mark.parametrize("how", sorted(DAMAGE))
def test_a_damaged_session_is_buried_and_found_nowhere_else(lab: Lab, how: str) -> None:
    """It must leave the line: a session that fails at every wake-up would be sent for ever."""
    session_id = lab.submit(text="hello")
    damage(lab, session_id, how)

    came = attempt(lab, session_id)
    if came == "claimed":  # the damage shows at the end of its lease, or when the journal is written
        lab.expire_lease(session_id)
        with pytest.raises(ServerRefused) as refused:
            lab.run(lab.due.rescue(session_id))
        assert lab.run(bury_unreadable(lab.store, session_id, str(refused.value)))

    now = lab.snapshot(session_id)
    assert (now.lease, now.due, now.sent) == (None, None, None)
    assert (now.record["phase"], now.record["reason"]) == ("dead", "unreadable")
    assert now.deadinfo is not None
    assert [member.split(":")[1] for member in now.members] == ["dead"]
    tick = lab.run(lab.due.tick(lab.store.keys.partition(session_id), [APP], most=9, each=9))
    assert (tick.in_line, tick.expired, tick.due) == ((), (), ())


@pytest.mark.parametrize("field", ["cursor", "state", "wait", "rank", "phase"])
def test_a_record_with_a_field_that_is_no_value_is_buried(lab: Lab, field: str) -> None:
    """The scripts can work on it, the worker cannot read it."""
    session_id = lab.submit()
    lab.run(lab.store.command("HSET", lab.key("record", session_id), field, "{not json"))

    came = attempt(lab, session_id)

    if field == "phase":  # nothing may follow a phase that is not in the table
        assert came == "settled"
    else:
        assert came == "buried"
        assert lab.snapshot(session_id).record["phase"] == "dead"


@pytest.mark.parametrize(("name", "body"), [("mailbox", "{"), ("intents", "{")])
def test_a_post_or_an_intent_that_cannot_be_read_buries_its_session(lab: Lab, name: str, body: str) -> None:
    """Dropping it would lose a message, or do an effect twice unseen."""
    session_id = lab.submit()
    if name == "mailbox":
        lab.run(lab.store.command("RPUSH", lab.key(name, session_id), body))
        lab.run(lab.store.command("HSET", lab.key("record", session_id), "posts", 1))
    else:
        lab.run(lab.store.command("HSET", lab.key(name, session_id), "call-1", body))

    assert attempt(lab, session_id) == "buried"


def test_a_session_without_a_record_is_removed_from_the_line(lab: Lab) -> None:
    """Somebody deleted it by hand; its wake-ups must come to an end."""
    session_id = lab.submit()
    lab.run(lab.store.command("DEL", lab.key("record", session_id)))

    assert attempt(lab, session_id) == "missing"
    assert not lab.run(bury_unreadable(lab.store, session_id, "a wake-up named it"))

    assert lab.snapshot(session_id).members == []
    with pytest.raises(SessionNotFound):
        lab.run(lab.views.record(session_id))


def test_a_readable_session_is_not_buried_by_a_servers_trouble(lab: Lab) -> None:
    """A server without memory refuses every act; that is no fault of its sessions."""
    session_id = lab.submit()
    before = lab.snapshot(session_id)

    assert not lab.run(bury_unreadable(lab.store, session_id, "OOM command not allowed"))

    assert lab.snapshot(session_id) == before


def test_only_the_newest_holder_buries_by_its_word(lab: Lab) -> None:
    """An old holder that could not read what another has long mended changes nothing."""
    session_id = lab.submit()
    claimed = lab.run(lab.leases.claim(session_id, "w:1", (DIGEST,)))
    assert isinstance(claimed, Claimed)

    assert not lab.run(bury_unreadable(lab.store, session_id, "unreadable", fence=claimed.record.fence - 1))
    assert lab.run(bury_unreadable(lab.store, session_id, "unreadable", fence=claimed.record.fence))
    assert lab.run(bury_unreadable(lab.store, session_id, "unreadable", fence=claimed.record.fence))

    assert [told.kind for told in lab.journal(session_id)] == ["submitted", "buried"]


@pytest.mark.parametrize(
    "body", ["{", "[]", "{}", '{"kind":1,"actor":"a"}', '{"kind":"step","actor":"a","ms":1e999,"x":1}']
)
def test_a_journal_entry_that_cannot_be_read_is_told_as_such(lab: Lab, body: str) -> None:
    """Whoever reads, verifies or forks gets the error that buries, and never one of the reader's own."""
    session_id = lab.submit()
    lab.run(lab.store.command("XADD", lab.key("journal", session_id), "2-0", "t", 1, "e", body))

    with pytest.raises(Unreadable, match="journal entry 2"):
        lab.journal(session_id)
