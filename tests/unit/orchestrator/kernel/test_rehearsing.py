"""A journal read as a tape: how the session stood before a step, and where the step would come out otherwise."""

import pytest

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ToolTimeout, Unreadable
from orchestrator.contracts.messages import Message
from orchestrator.contracts.plugins import PassPlace
from orchestrator.contracts.session import Cursor, Entry, PendingCall, Record, ToolCall, Wait
from orchestrator.kernel.change import Change, Directive
from orchestrator.kernel.rehearsing import Difference, Tape, compare, describe_failure, is_recorded_whole

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


CALL = PendingCall(call_id="c", tool="t", args={"n": 1})
BEGIN = Entry(kind="submitted", actor="ada", set={"app": "a", "spec": "d", "cursor": "{}", "state": '{"n":1,"m":2}'})


def differences(entry: Entry, directive: Directive = "continue", status: str = "", **after: object) -> list[Difference]:
    """Return where a step that was committed as `entry` would come out as `after`."""
    messages = after.pop("messages", ())
    change = Change(BEFORE.model_copy(update=after), "compute", directive, status=status, messages=messages)  # type: ignore[arg-type]
    return list(compare(BEFORE, entry, change))


@pytest.mark.parametrize(
    ("entry", "change", "found"),
    [
        (step(step="wait"), {}, [("step", "wait", "compute")]),
        (step(), {"directive": "ready"}, []),
        (step(set={"phase": "ended", "status": "fine"}), {"directive": "ended", "status": "fine"}, []),
        (
            step(set={"phase": "ended", "status": "fine"}),
            {"directive": "ended", "status": "bad"},
            [("status", "fine", "bad")],
        ),
        (step(set={"phase": "ended"}), {"directive": "ended", "status": "bad"}, [("status", None, "bad")]),
        (step(set={"phase": "ended", "status": "fine"}), {"directive": "ended"}, [("status", "fine", None)]),
        (step(dropped=["n"]), {"state": {}}, []),
        (step(state={"m": 1}), {"state": {"n": 1}}, [("state.m", 1, None)]),
        (step(set={"fields": '{"a":1}'}), {"fields": {"a": 1}}, []),
        (step(set={"fields": '{"a":1}'}), {"fields": {"a": 2}}, [("fields", {"a": 1}, {"a": 2})]),
        (step(), {"fields": {"a": 2}}, [("fields", {}, {"a": 2})]),
        (step(), {"cursor": Cursor(skill="work", place=PassPlace(plugin=3))}, []),
        (
            step(messages=[Message(role="user", content="a").to_json()]),
            {"messages": (Message(role="user", content="b"),)},
            [("messages", [{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}])],
        ),
        (
            step(),
            {"cursor": Cursor(skill="work", calls=(CALL,))},
            [("cursor.calls", [], [{"call_id": "c", "tool": "t", "args": {"n": 1}}])],
        ),
        (
            step(set={"cursor": Cursor(skill="work", calls=(CALL,)).to_json()}),
            {"cursor": Cursor(skill="work", calls=(CALL.model_copy(update={"key": "another"}),))},
            [],
        ),
    ],
)
def test_what_a_step_left_is_compared_part_by_part(entry: Entry, change: JsonObject, found: list[Difference]) -> None:
    """Everything that an app decides, and nothing that only this run made."""
    assert differences(entry, **change) == found  # type: ignore[arg-type]


def waiting(**parts: object) -> Wait:
    """Return a wait of a minute."""
    return Wait.model_validate({"wait_id": "w", "kind": "input", "since_at": 1_000, "deadline_at": 61_000, **parts})


def kept(wait: Wait | None) -> Entry:
    """Return the entry of a step that left this wait."""
    return step(set={"wait": wait.to_json() if wait else "", "phase": "waiting"})


@pytest.mark.parametrize(
    ("was", "now", "found"),
    [
        (None, None, []),
        (waiting(), None, [("wait", {"kind": "input", "seconds": 60}, None)]),
        (None, waiting(deadline_at=None), [("wait", None, {"kind": "input"})]),
        (waiting(), waiting(deadline_at=91_000), [("wait.seconds", 60, 90)]),
        (waiting(prompt="a"), waiting(), [("wait.prompt", "a", None)]),
        (waiting(), waiting(roster=["ada"]), [("wait.roster", None, ["ada"])]),
        (
            waiting(kind="child", children={"S-2": None}),
            waiting(kind="child", deadline_at=99_000, children={"S-3": {"status": "x"}}),
            [],
        ),
        (
            waiting(kind="child", children={"S-2": None}),
            waiting(kind="child", children={"S-2": None, "S-3": None}),
            [("wait.children", 1, 2)],
        ),
        (
            waiting(call=CALL),
            waiting(call=CALL.model_copy(update={"args": {"n": 2}, "key": "k"})),
            [
                (
                    "wait.call",
                    {"call_id": "c", "tool": "t", "args": {"n": 1}},
                    {"call_id": "c", "tool": "t", "args": {"n": 2}},
                )
            ],
        ),
    ],
)
def test_a_wait_is_compared_by_what_it_asks_and_for_how_long(
    was: Wait | None, now: Wait | None, found: list[Difference]
) -> None:
    """Not by its name or the second in which it began; of children only how many there are."""
    assert differences(kept(was), "waiting", wait=now) == found


def test_a_step_that_says_nothing_of_its_wait_left_it_as_it_was() -> None:
    """What is not in an entry has not changed."""
    before = BEFORE.model_copy(update={"wait": waiting()})
    change = Change(before.model_copy(update={"wait": None}), "compute")

    assert list(compare(before, step(), change)) == [("wait", {"kind": "input", "seconds": 60}, None)]


def test_what_a_step_would_fail_with_is_one_line() -> None:
    """Its class is what the retry rules go by."""
    assert describe_failure(ToolTimeout("hands:strike: no answer; try again")) == (
        "ToolTimeout: hands:strike: no answer; try again"
    )


@pytest.mark.parametrize(
    ("entry", "before", "is_whole"),
    [
        (step(step="compact"), {}, False),
        (step(data={"error": "x"}), {}, False),
        (step(), {"cursor": Cursor(skill="work", stop="cancelled")}, False),
        (step(), {"cursor": Cursor(skill="work", stop="escalated")}, True),
        (step(), {"wait": waiting(kind="child")}, False),
        (step(), {"wait": waiting()}, True),
        (step(step="wait", outcome="suspended"), {"wait": waiting()}, False),
        (step(step="wait", outcome="suspended", taken=1), {"wait": waiting()}, True),
        (step(step="wait", outcome="suspended"), {}, True),
        (step(step="wait", outcome="succeeded"), {"wait": waiting()}, True),
        (step(step="compute", outcome="suspended"), {"wait": waiting()}, True),
        *((step(outcome=outcome), {}, False) for outcome in ("failed", "snoozed", "cancelled", "orphaned")),
    ],
)
def test_a_step_is_done_again_only_where_all_that_it_met_is_written_down(
    entry: Entry, before: JsonObject, is_whole: bool
) -> None:
    """Who asks the same again after nothing came knew only that nothing had come."""
    assert is_recorded_whole(BEFORE.model_copy(update=before), entry) is is_whole


def test_a_tape_without_a_beginning_is_refused() -> None:
    """A session that is guessed would differ everywhere."""
    with pytest.raises(Unreadable, match=r"^journal: it has no beginning; restore a backup$"):
        Tape().fields()


def read(*entries: Entry) -> Tape:
    """Return a tape that has read a submission and these entries."""
    tape = Tape()
    for entry in (BEGIN, *entries):
        tape.take(entry)
    return tape


def test_a_tape_keeps_the_fields_state_and_context_as_they_stood() -> None:
    """As the store would give them to whoever claims the session."""
    hello = Message(role="user", content="hello")
    early = read(step(set={"text": "x", "phase": "waiting", "status": "s"}, state={"n": 5}, dropped=["m"]))
    late = read(step(set={"phase": "finalizing", "state": '{"k":1}'}, state={"j": 2}, messages=[hello.to_json()]))

    assert early.fields() == {
        "created": "0", "since": "0", "updated": "0", "phase": "running", "rev": "0", "fence": "0", "attempts": "1",
        "seq": "1", "rank": "1", "app": "a", "spec": "d", "cursor": "{}", "text": "x", "state": '{"n":5}',
    }  # fmt: skip
    assert (late.fields()["phase"], late.fields()["state"]) == ("finalizing", '{"k":1,"j":2}')
    assert (early.messages(), late.messages()) == ((), (hello,))


@pytest.mark.parametrize("state", ["[1]", "null", '"x"'])
def test_a_state_that_is_no_mapping_is_an_empty_one(state: str) -> None:
    """As the record's reader takes it."""
    assert read(step(set={"state": state})).fields()["state"] == "{}"


def test_posts_leave_the_tape_as_the_steps_took_them() -> None:
    """A step gets what it took, and never more than there was."""

    def posted(name: str) -> Entry:
        return Entry(kind="posted", actor="ada", data={"post": {"post_id": name, "kind": "input", "actor": "ada"}})

    tape = read(
        posted("p"), posted("q"), posted("r"), step(taken=1), Entry(kind="posted", actor="ada", data={"post": "x"})
    )

    assert [one.post_id for one in tape.posts(1)] == ["q"]
    assert [one.post_id for one in tape.posts(9)] == ["q", "r"]
    assert tape.posts(0) == []


def test_an_announced_call_is_open_until_it_ended() -> None:
    """A crash in between is what the step would meet again."""
    record = BEFORE.model_copy(update={"cursor": Cursor(skill="work", calls=(CALL,))})
    ended = ToolCall(call_id="c", tool="t", outcome="executed")
    announced = step(data={"announced": "c"}, fence=7)

    assert read(announced).intents(record) == {"c": CALL}
    assert read(announced).intents(BEFORE) == {}
    assert read(announced, step(calls=[ended])).intents(record) == {}
    assert read(announced, step(calls=[ended])).announced_under(7) == set()


@pytest.mark.parametrize(
    ("wait", "data", "at"),
    [
        (None, {}, 1_000),
        (waiting(deadline_at=None), {"posts": [{"what": "deadline"}]}, 1_000),
        (waiting(deadline_at=1_500), {}, 1_000),
        (waiting(deadline_at=1_000), {}, 999),
        (waiting(deadline_at=1_500), {"posts": [{"what": "answered"}, "x", {"what": "deadline"}]}, 1_500),
        (waiting(deadline_at=500), {"posts": [{"what": "answered"}]}, 499),
        (waiting(deadline_at=500), {"posts": "deadline"}, 499),
    ],
)
def test_a_steps_time_is_one_under_which_the_same_deadlines_are_over(
    wait: Wait | None, data: JsonObject, at: int
) -> None:
    """The store's clock and the step's own are not the same to the millisecond."""
    assert read().time_of(BEFORE.model_copy(update={"wait": wait}), step(data=data)) == at
