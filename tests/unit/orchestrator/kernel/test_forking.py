"""How a session stood at an entry, and what a fork of it begins with."""

import pytest
from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import PhaseRefused, Unreadable
from orchestrator.contracts.hooks import Ephemeral, Grant, HookMemory
from orchestrator.contracts.session import Cursor, PendingCall
from orchestrator.kernel.forking import StoredEntry, fold_point, is_open, plan_fork, read_mark

ORIGIN, OWN = "S-20260101-001", "S-20260101-002"


def cursor(*calls: PendingCall, **parts: object) -> str:
    """Return a cursor as stored."""
    return Cursor(skill="work", calls=calls, **parts).to_json()  # type: ignore[arg-type]


def journal(*bodies: JsonObject) -> list[StoredEntry]:
    """Return a journal as stored: a submission, then steps."""
    begin: JsonObject = {
        "kind": "submitted",
        "set": {"app": "a", "spec": "d1", "rank": "1", "text": "hi", "cursor": cursor(), "state": '{"n":1,"m":2}'},
        "messages": ["{}"],
    }
    steps: list[JsonObject] = [{"kind": "step", **body} for body in bodies]
    return [(number, 100 * number, body) for number, body in enumerate([begin, *steps], start=1)]


CALL = PendingCall(
    call_id="call-1", tool="t:put", args={"to": ORIGIN, "idempotency_key": f"{ORIGIN}/call-1", "text": ORIGIN},
    key=f"{ORIGIN}/call-1", effect="idempotent", action="approve", verdict="approved", approver="ada",
)  # fmt: skip


def test_state_and_messages_are_those_of_the_entry() -> None:
    """Changed keys come in, dropped ones go; what a step said counts."""
    entries = journal({"state": {"n": 5}, "messages": ["{}", "{}"]}, {"dropped": ["m"], "state": {"k": 1}})

    assert [fold_point(None, entries[:count]).state for count in (1, 2, 3)] == [
        {"n": 1, "m": 2},
        {"n": 5, "m": 2},
        {"n": 5, "k": 1},
    ]
    assert [fold_point(None, entries[:count]).messages for count in (1, 2, 3)] == [1, 3, 3]


def test_a_mark_stands_for_all_before_it() -> None:
    """Going on from a mark is the same as going on from the first entry."""
    entries = journal({"state": {"n": 5}}, {"data": {"announced": "call-1"}}, {"state": {"n": 6}})
    whole = fold_point(None, entries)
    middle = fold_point(None, entries[:3])
    mark = {**middle.fields, "state": dump_json(middle.state), "#messages": "1", "#announced": "call-1"}

    assert fold_point(read_mark(3, mark), entries[3:]) == whole


@pytest.mark.parametrize("stage", ["model", "end"])
def test_a_mark_knows_no_entry_but_its_own(stage: str) -> None:
    """One behind the end must not name an entry to fork at: who asks for it is sent back to the journal."""
    mark = {**fold_point(None, journal()).fields, "cursor": cursor(stage=stage), "#messages": "1"}

    point = read_mark(7, mark)

    assert (point.seq, point.at, point.open_seq) == (7, 0, 0 if stage == "end" else 7)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ([], "it is empty"),
        (journal({})[1:], "entry 1 is missing, found 2"),
        ([*journal(), (3, 0, {"kind": "step"})], "entry 2 is missing, found 3"),
        ([(1, 0, {"kind": "step"})], "entry 1 is missing, found 1"),
    ],
    ids=["none", "head", "gap", "no beginning"],
)
def test_a_journal_with_a_gap_is_refused(broken: list[StoredEntry], told: str) -> None:
    """What is missing cannot be guessed."""
    with pytest.raises(Unreadable, match=f"^journal: {told}; restore a backup$"):
        fold_point(None, broken)


@pytest.mark.parametrize("kind", [{}, ["step"], 1, None], ids=str)
def test_an_entry_without_a_kind_is_refused_in_words(kind: JsonValue) -> None:
    """A damaged journal is the operator's to restore, not a crash of whoever reads it."""
    with pytest.raises(Unreadable, match=r"^journal: entry 2 has no kind; restore a backup$"):
        fold_point(None, journal({"kind": kind}))


def test_what_is_no_json_or_has_no_cursor_is_refused_in_words() -> None:
    """A fork that began without knowing where would begin anywhere."""
    point = fold_point(None, journal({"set": {"wait": "x"}}))
    blind = point._replace(fields={**point.fields, "cursor": "{}"})

    with pytest.raises(Unreadable, match=r"^journal: field 'cursor' cannot be read \(1 faults\); restore a backup$"):
        plan_fork(blind, ORIGIN, OWN, actor="ada")
    with pytest.raises(Unreadable, match=r"^journal: field 'state' is no JSON "):
        fold_point(None, journal({"set": {"state": "{"}}))


def test_a_step_after_a_wait_makes_the_session_ready() -> None:
    """The store writes no phase where a claim had changed it already."""
    entries = journal({"set": {"phase": "waiting"}}, {"state": {"n": 2}})

    assert [fold_point(None, entries[:count]).fields.get("phase") for count in (1, 2, 3)] == [None, "waiting", "ready"]


def test_a_dead_letter_is_one_until_it_is_replayed() -> None:
    """A point tells how the session stood, also where either can be forked."""
    entries = [*journal(), (2, 200, {"kind": "buried", "data": {}}), (3, 300, {"kind": "replayed", "data": {}})]

    assert [fold_point(None, entries[:count]).fields["phase"] for count in (2, 3)] == ["dead", "ready"]


def test_behind_its_end_there_is_nothing_to_fork() -> None:
    """The last entry before it is named; a dead letter has something left to do."""
    done = fold_point(None, journal({}, {"set": {"cursor": cursor(stage="end"), "phase": "finalizing"}}))
    dead = fold_point(None, [*journal({}), (3, 300, {"kind": "buried", "data": {}})])

    assert (is_open(done), done.open_seq, is_open(dead)) == (False, 2, True)
    with pytest.raises(PhaseRefused, match="fork it at 2 or before"):
        plan_fork(done, ORIGIN, OWN, actor="ada")


def test_nothing_that_was_said_of_a_call_holds_in_a_fork() -> None:
    """One approval allows one call; its key and the session's id are the fork's own, and no other text is touched."""
    point = fold_point(None, journal({"set": {"cursor": cursor(CALL)}}))
    fork = plan_fork(point, ORIGIN, OWN, actor="ada", injected_ids=["to"])
    (call,) = fork.record.cursor.calls

    assert (call.verdict, call.approver, call.action, call.key) == (None, None, "approve", f"{OWN}/call-1")
    assert call.args == {"to": OWN, "idempotency_key": f"{OWN}/call-1", "text": ORIGIN}
    assert fork.intents == {}


def test_a_call_that_may_have_acted_keeps_its_key() -> None:
    """It is an intent of the fork as it was of the origin."""
    point = fold_point(None, journal({"set": {"cursor": cursor(CALL)}, "data": {"announced": "call-1"}}))
    fork = plan_fork(point, ORIGIN, OWN, actor="ada")

    assert fork.record.cursor.calls == (CALL,)
    assert fork.intents == {"call-1": CALL}
    assert fork.data["uncertain"] == ["call-1"]


def test_a_fork_says_what_it_is() -> None:
    """Who, from where, at which entry, with what in place of what."""
    point = fold_point(None, journal({"set": {"wait": '{"wait_id":"w","kind":"input"}', "phase": "waiting"}}))
    fork = plan_fork(point, ORIGIN, OWN, actor="eve", state={"n": 1, "m": 3}, spec="d2")

    assert (fork.record.parent, fork.record.forked_at, fork.record.actor, fork.record.wait) == (ORIGIN, 2, "eve", None)
    assert fork.data == {
        "event": "session:fork",
        "parent": ORIGIN,
        "session_id": OWN,
        "at": 2,
        "state": ["m"],
        "version": {"was": "d1", "is": "d2"},
    }


def test_what_hooks_made_of_a_context_holds_in_a_fork() -> None:
    """A prompt that a hook has blackened must not come to light in a fork; what people allowed stays with the origin."""
    grant = Grant(asked_by="gateway", tool="t:put", digest="d", actor="ada")
    text = Ephemeral(content="only now")
    memory = HookMemory(started=True, running=True, rewritten={"0": "-"}, ephemeral=(text,), grants=(grant,))
    only_grants = HookMemory(started=True, grants=(grant,))

    forks = [
        plan_fork(fold_point(None, journal({"set": {"hooks": one.to_json()}})), ORIGIN, OWN, actor="ada")
        for one in (memory, only_grants)
    ]

    assert forks[0].record.hooks == HookMemory(rewritten={"0": "-"}, ephemeral=(text,))
    assert forks[1].record.hooks is None


BEGIN = {"kind": "submitted", "set": {"app": "a", "spec": "d", "rank": "1", "cursor": cursor()}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "submitted", "set": {"app": "a"}},
        {"kind": "submitted", "set": {**BEGIN["set"], "cursor": "{"}},
        {"kind": "submitted", "set": {**BEGIN["set"], "state": "{"}},
        {"kind": "submitted", "set": {**BEGIN["set"], "text": 3}},
        {"kind": "submitted", "set": "x"},
    ],
)
def test_an_entry_that_is_none_is_refused_in_words(body: JsonObject) -> None:
    """A journal that was damaged is told as such, by the one error that buries and never loops."""
    with pytest.raises(Unreadable, match="restore a backup"):
        fold_point(None, [(1, 0, body)])


@pytest.mark.parametrize("field", ["cursor", "terminal", "compacted", "hooks", "level", "fields"])
def test_a_field_that_cannot_be_read_is_no_beginning(field: str) -> None:
    """What a fork would begin with is read before it begins."""
    point = fold_point(None, [(1, 0, BEGIN)])
    broken = point._replace(fields={**point.fields, field: '{"stage":3}' if field == "cursor" else "{"})

    with pytest.raises(Unreadable, match="restore a backup"):
        plan_fork(broken, ORIGIN, OWN, actor="ada")


@pytest.mark.parametrize("mark", [{}, {"#messages": "x"}, {"#messages": "1"}, {"#messages": "1", "state": "{"}])
def test_a_mark_that_cannot_be_read_is_refused(mark: dict[str, str]) -> None:
    """A mark is a shortcut: what is wrong with it is told like what is wrong with a journal."""
    with pytest.raises(Unreadable, match="restore a backup"):
        read_mark(3, mark)
