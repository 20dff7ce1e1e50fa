"""What a step's decision becomes: the fields, the one entry, and that the entry says everything."""

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Record, ToolCall, Wait
from orchestrator.kernel.change import Change, suspend
from orchestrator.kernel.delivery import Delivery
from orchestrator.store.leases import Commit
from workers.recording import encode, state_changes

BEFORE = Record(
    session_id="S-20260101-001",
    app="a",
    spec="d",
    phase="running",
    fence=7,
    cursor=Cursor(skill="work"),
    state={"a": 1, "b": 2},
)


def record(change: Change, directive: str = "continue", *, taken: int = 0) -> tuple[Commit, Entry]:
    """Encode a change, and read its entry back."""
    delivery = Delivery(BEFORE, taken=taken, notes=({"post": "p1", "what": "answered"},) if taken else ())
    commit = encode(BEFORE, change, directive, delivery, attempt=2, actor="w", seconds=0.0042)  # type: ignore[arg-type]
    assert len(commit.entries) == 1
    return commit, Entry.from_json(commit.entries[0])


def test_only_what_changed_is_written() -> None:
    """Invariant 6: a step's cost is its own, whatever the session is like."""
    after = BEFORE.model_copy(update={"state": {"a": 1, "c": 3}})

    commit, entry = record(Change(record=after, step="compute"))

    assert set(commit.fields) == {"state"}
    assert (entry.state, entry.dropped) == ({"c": 3}, ("b",))
    assert entry.set == {}


def test_an_entry_says_who_did_what_and_how_it_ended() -> None:
    """Invariant 10: actor, step, attempt, fence, outcome, and how long it took."""
    _, entry = record(Change(record=BEFORE, step="agent_turn", outcome="failed", data={"model": "m"}))

    assert (entry.kind, entry.actor, entry.step, entry.skill) == ("step", "w", "agent_turn", "work")
    assert (entry.outcome, entry.attempt, entry.fence, entry.ms) == ("failed", 2, 7, 4.2)
    assert entry.data == {"model": "m"}


def test_a_wait_is_in_the_entry_and_gives_the_due_time() -> None:
    """What the session waits for can be rebuilt, and it is woken at its deadline."""
    wait = Wait(wait_id="w1", kind="timer", deadline_at=99)

    commit, entry = record(suspend(BEFORE, wait, "wait"), "waiting")

    assert (commit.directive, commit.due_at) == ("waiting", 99)
    assert entry.set["phase"] == "waiting"
    assert Wait.from_json(entry.set["wait"]) == wait
    assert (commit.fields["wait_id"], commit.fields["answered"]) == ("w1", "")


def test_calls_messages_intents_and_posts_go_into_the_same_commit() -> None:
    """Invariant 3: all of a step's effects on its session are one atomic write."""
    call = ToolCall(call_id="c1", tool="s:t", args={"x": None}, result=[1], outcome="executed")
    pending = PendingCall(call_id="c2", tool="s:u")
    message = Message(role="tool", content="done", call_id="c1")
    change = Change(
        record=BEFORE, step="tool_calls", calls=(call,), messages=(message,), intents=(pending,), cleared=("c1",)
    )

    commit, entry = record(change, taken=1)

    assert entry.calls == (call,)
    assert (entry.taken, commit.taken, entry.data["posts"]) == (1, 1, [{"post": "p1", "what": "answered"}])
    assert commit.messages == entry.messages == (message.to_json(),)
    assert commit.intents == {"c2": pending.to_json()}
    assert commit.cleared == ("c1",)


def test_an_end_carries_the_status_and_a_death_its_detail() -> None:
    """One argument serves both: a status for what ended, a text for what died."""
    ended, entry = record(
        Change(record=BEFORE, step="finalize", directive="ended", status="done", detail="no"), "ended"
    )
    dead, _ = record(Change(record=BEFORE, step="wait", directive="dead", reason="why", detail="so"), "dead")

    assert (ended.status, entry.set["status"]) == ("done", "done")
    assert (dead.status, dead.reason) == ("so", "why")


def test_state_is_compared_by_key() -> None:
    """A value that is the same object has not changed; a changed one goes in whole."""
    inner: JsonObject = {"deep": 1}

    assert state_changes({"a": inner, "b": 1}, {"a": inner, "b": 2}) == ({"b": 2}, ())
    assert state_changes({"a": 1}, {"a": 1}) == ({}, ())
    assert state_changes({"a": None}, {}) == ({}, ("a",))
