"""Folding journals: what an entry of each kind does, and which journals are refused."""

import pytest

from orchestrator.contracts.errors import Unreadable
from orchestrator.contracts.hooks import Asked, Ephemeral, Grant, HookMemory
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Entry, Record, Wait
from orchestrator.kernel.rebuild import find_differences, fold

BEGIN = Entry(
    kind="submitted",
    actor="ada",
    set={
        "app": "a",
        "spec": "d",
        "rank": "1",
        "actor": "ada",
        "text": "hi",
        "cursor": '{"skill":"work"}',
        "state": '{"n":1}',
    },
    messages=('{"role":"user"}',),
)


def journal(*entries: Entry) -> list[Entry]:
    """Number entries as the store does."""
    return [one.model_copy(update={"seq": number}) for number, one in enumerate((BEGIN, *entries), start=1)]


def step(**parts: object) -> Entry:
    """Return a step's entry."""
    return Entry.model_validate({"kind": "step", "actor": "w", **parts})


def posted(**post: object) -> Entry:
    """Return the entry of a post."""
    return Entry.model_validate({"kind": "posted", "actor": "ada", "data": {"post": post}})


def test_a_submission_is_a_session() -> None:
    """The first entry holds all that was submitted."""
    assert fold(journal()) | {"cursor": None} == {
        "app": "a",
        "spec": "d",
        "actor": "ada",
        "text": "hi",
        "parent": "",
        "forked_at": "",
        "level": "",
        "reason": "",
        "catalogue": "",
        "failure": None,
        "compacted": None,
        "hooks": None,
        "spent": None,
        "state": {"n": 1},
        "fields": {},
        "cursor": None,
        "wait": None,
        "terminal": None,
        "status": None,
        "phase": "ready",
        "rev": 0,
        "seq": 1,
        "answered": False,
        "cancel": None,
        "cancel_immediate": False,
        "replays": 0,
        "messages": ['{"role":"user"}'],
        "posts": 0,
    }


def test_state_changes_by_its_keys() -> None:
    """Changed keys come in, dropped ones go, the others stay."""
    rebuilt = fold(journal(step(state={"m": [1]}), step(state={"n": None}, dropped=["m"])))

    assert (rebuilt["state"], rebuilt["rev"]) == ({"n": None}, 2)


def test_posts_go_in_and_are_taken() -> None:
    """A wait with a post in the mailbox is no wait."""
    waits = step(set={"phase": "waiting", "wait": '{"wait_id":"w1","kind":"input"}', "wait_id": "w1", "answered": ""})

    waiting = fold(journal(waits))
    answered = fold(journal(waits, posted(post_id="p", kind="input", wait_id="w1")))
    taken = fold(
        journal(waits, posted(post_id="p", kind="input", wait_id="w1"), step(set={"wait": "", "answered": ""}, taken=1))
    )
    early = fold(journal(posted(post_id="p", kind="signal"), waits))

    assert (waiting["phase"], waiting["posts"], waiting["answered"]) == ("waiting", 0, False)
    assert (answered["phase"], answered["posts"], answered["answered"]) == ("ready", 1, True)
    assert (taken["wait"], taken["posts"], taken["answered"]) == (None, 0, False)
    assert (early["phase"], early["posts"]) == ("ready", 1)


def test_a_cancel_is_remembered() -> None:
    """Its reason is what the person said, or only that it was cancelled."""
    assert fold(journal(posted(post_id="c", kind="cancel", text="enough")))["cancel"] == "enough"
    assert fold(journal(posted(post_id="c", kind="cancel")))["cancel"] == "cancelled"


@pytest.mark.parametrize("order", [(False, True), (True, False), (False, False)])
def test_a_cancel_that_waited_for_nothing_stays_one(order: tuple[bool, bool]) -> None:
    """A milder word afterwards takes nothing back."""
    told = [posted(post_id=f"c{number}", kind="cancel", immediate=how) for number, how in enumerate(order)]

    assert fold(journal(*told))["cancel_immediate"] is any(order)


def test_death_and_replay() -> None:
    """A dead letter has its reason; a person's replay takes it away, and is counted."""
    buried = Entry(kind="buried", actor="store", data={"reason": "attempts"})
    replayed = Entry(kind="replayed", actor="ada", set={"cursor": '{"skill":"work"}'})

    dead, again = fold(journal(buried)), fold(journal(buried, replayed))

    assert (dead["phase"], dead["reason"]) == ("dead", "attempts")
    assert (again["phase"], again["reason"], again["replays"]) == ("ready", "", 1)


@pytest.mark.parametrize("kind", ["orphaned", "released"])
def test_what_loses_its_holder_while_it_is_settled_is_still_to_be_settled(kind: str) -> None:
    """Nothing leads from finalizing back to work."""
    lost = Entry(kind=kind, actor="store")

    assert fold(journal(step(set={"phase": "finalizing"}), lost))["phase"] == "finalizing"
    assert fold(journal(lost))["phase"] == "ready"


@pytest.mark.parametrize(
    "broken",
    [[], journal(step())[1:], [*journal(step()), *journal(step())], [journal()[0], step(seq=3)], [step(seq=1)]],
    ids=["empty", "no beginning", "twice", "a gap", "another beginning"],
)
def test_a_journal_with_a_gap_is_refused(broken: list[Entry]) -> None:
    """What is missing cannot be guessed."""
    with pytest.raises(Unreadable):
        fold(broken)


def test_a_difference_is_named() -> None:
    """Whoever verifies a session reads what does not fit, part by part."""
    record = Record(
        session_id="S-20260101-001",
        app="a",
        spec="d",
        phase="waiting",
        text="hi",
        actor="ada",
        seq=1,
        cursor=Cursor(skill="work"),
        state={"n": 2},
        wait=Wait(wait_id="w", kind="timer"),
    )

    found = find_differences(record, ['{"role":"user"}'], 1, fold(journal()))

    assert [line.split(":", 1)[0] for line in found] == ["state", "posts", "phase", "wait"]


def test_what_hooks_keep_is_rebuilt() -> None:
    """A question that is open, and what was allowed for good, are as much of a session as its cursor."""
    memory = HookMemory(
        started=True,
        passed=("prompt:submit",),
        kept={"response": {"content": "x"}},
        asked=Asked(point="tool:pre/call-1-0", event="tool:pre", hook="guard", is_changed=True, value={"n": 1}),
        pending=(Message(role="system", content="later"),),
        ephemeral=(Ephemeral(content="now"),),
        grants=(Grant(asked_by="gateway", tool="t", digest="d", actor="ada"),),
    )
    record = Record(
        session_id="S-20260101-001",
        app="a",
        spec="d",
        phase="running",
        text="hi",
        actor="ada",
        rev=2,
        seq=4,
        cursor=Cursor(skill="work"),
        state={"n": 1},
        hooks=memory,
    )
    refused = Entry(kind="refused", actor="mallory", data={"refused": "decision", "why": "NotPermitted"})
    entries = journal(
        step(set={"hooks": HookMemory(started=True).to_json()}), refused, step(set={"hooks": memory.to_json()})
    )

    assert find_differences(record, ['{"role":"user"}'], 0, fold(entries)) == []
    gone = fold(journal(*entries[1:], step(set={"hooks": ""})))
    assert gone["hooks"] is None


def test_a_field_that_is_no_json_is_refused() -> None:
    """A damaged entry is told as what it is, and never another error."""
    with pytest.raises(Unreadable, match="'cursor' is no JSON"):
        fold(journal(step(set={"cursor": "{"})))


def test_a_field_of_another_shape_is_a_difference() -> None:
    """Whoever verifies a session is told of all that is wrong with it, not of the first."""
    record = Record(session_id="S-20260101-001", app="a", spec="d", phase="ready", cursor=Cursor(skill="work"))
    found = find_differences(record, [], 0, fold(journal(step(set={"cursor": "[]", "wait": "3"}))))

    assert [line.split(":")[0] for line in found if "cannot be read" in line] == ["cursor", "wait"]
