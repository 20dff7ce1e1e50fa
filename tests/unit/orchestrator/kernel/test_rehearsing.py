"""A journal read as a tape: how the session stood before a step, and where the step would come out otherwise."""

from orchestrator.contracts.session import Cursor, Entry, PendingCall, Record, Wait
from orchestrator.kernel.change import Change
from orchestrator.kernel.rehearsing import Tape, compare, is_recorded_whole

BEFORE = Record(
    session_id="S-20260101-001", app="a", spec="d", phase="running", cursor=Cursor(skill="work"), state={"n": 1}
)


def step(**parts: object) -> Entry:
    """Return a step's entry."""
    return Entry.model_validate({"kind": "step", "actor": "w", "step": "compute", "at": 1_000, **parts})


def test_what_came_out_the_same_is_no_difference() -> None:
    """Names, times and ids are not what an app decides."""
    wait = Wait(wait_id="a", kind="input", since_at=1_000, deadline_at=61_000, prompt="?")
    again = wait.model_copy(update={"wait_id": "b", "since_at": 5_000, "deadline_at": 65_000})
    entry = step(step="wait", set={"wait": wait.to_json(), "phase": "waiting"})
    after = BEFORE.model_copy(update={"wait": again})

    assert list(compare(BEFORE, entry, Change(after, "wait", "waiting"))) == []


def test_each_difference_has_both_values() -> None:
    """Whoever reads it must see what was and what would be."""
    entry = step(set={"cursor": Cursor(skill="work", serial=1).to_json()}, state={"n": 2})
    after = BEFORE.model_copy(update={"cursor": Cursor(skill="last", serial=1), "state": {"n": 3}})

    assert list(compare(BEFORE, entry, Change(after, "compute", "finalizing"))) == [
        ("goes to", "ready", "finalizing"),
        ("cursor.skill", "work", "last"),
        ("state.n", 2, 3),
    ]


def test_steps_whose_world_is_not_recorded_are_left_out() -> None:
    """A difference that only says that something is unknown would hide the real ones."""
    asleep = BEFORE.model_copy(update={"wait": Wait(wait_id="w", kind="retry")})

    assert is_recorded_whole(BEFORE, step())
    assert not is_recorded_whole(BEFORE, step(step="plugin_pass"))
    assert not is_recorded_whole(BEFORE, step(outcome="snoozed"))
    assert not is_recorded_whole(BEFORE, step(data={"turn_limit": 3}))
    assert not is_recorded_whole(asleep, step())


def test_a_tape_knows_posts_intents_and_the_time() -> None:
    """A step is done again with exactly what it took then, and with the deadlines that were over then."""
    tape = Tape()
    call = PendingCall(call_id="c", tool="t")
    begin = Entry(kind="submitted", actor="ada", set={"app": "a", "spec": "d", "cursor": "{}", "state": '{"n":1}'})
    post = Entry(kind="posted", actor="ada", data={"post": {"post_id": "p", "kind": "input", "actor": "ada"}})
    for entry in (begin, post, step(data={"announced": "c"}, fence=7)):
        tape.take(entry)
    record = BEFORE.model_copy(
        update={"cursor": Cursor(skill="work", calls=(call,)), "wait": Wait(wait_id="w", kind="timer", deadline_at=500)}
    )

    assert [one.post_id for one in tape.posts(1)] == ["p"]
    assert tape.intents(record) == {"c": call}
    assert (tape.announced_under(7), tape.announced_under(8)) == ({"c"}, set())
    assert tape.time_of(record, step()) == 499
    assert tape.time_of(record, step(data={"posts": [{"what": "deadline"}]})) == 1_000
