"""Transcripts: what a model service would refuse is mended before it sees it, and nothing is made up."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.messages import Message, ToolRequest
from orchestrator.kernel.transcript import LOST_ANSWER, is_whole, repair, repaired_event


def user(text: str = "go on") -> Message:
    """Return a person's message."""
    return Message(role="user", content=text)


def asks(*calls: str, text: str = "") -> Message:
    """Return an assistant's message that asks for these calls."""
    return Message(
        role="assistant",
        content=text,
        skill="work",
        tool_calls=tuple(ToolRequest(call_id=one, tool=f"box:{one}") for one in calls),
    )


def tells(call: str, text: str = "ok") -> Message:
    """Return the answer to a call."""
    return Message(role="tool", call_id=call, content=text, skill="work")


def test_a_whole_context_is_left_as_it_is() -> None:
    """The ordinary turn pays for one look and gets the very same messages."""
    messages = (user(), asks("a", "b"), tells("b"), tells("a"), asks(text="done"))

    assert repair(messages).messages is messages


def test_an_unanswered_call_gets_a_synthetic_answer() -> None:
    """A crash or a cancel in the middle of calls must not make every later request a refused one."""
    mended = repair((user(), asks("a", "b"), tells("a")))

    assert [one.call_id for one in mended.messages] == [None, None, "a", "b"]
    assert mended.messages[-1].content == LOST_ANSWER
    assert mended.added == mended.messages[-1:]
    assert mended.notes == ({"tool_call_id": "b", "tool_name": "box:b", "what": "answer was missing"},)


def test_a_word_in_between_goes_behind_the_answers() -> None:
    """A person's message that came while a tool ran is kept, after the answer."""
    mended = repair((asks("a"), user("stop?"), tells("a")))

    assert [one.role for one in mended.messages] == ["assistant", "tool", "user"]
    assert mended.added == ()
    assert [note["what"] for note in mended.notes] == ["answer moved behind its call"]


def test_a_missing_answer_in_the_middle_is_no_end_of_the_context() -> None:
    """Only what stands at the end can be appended: the stored context is never rewritten."""
    mended = repair((asks("a"), user()))

    assert [one.role for one in mended.messages] == ["assistant", "tool", "user"]
    assert mended.added == ()
    assert len(mended.notes) == 1


def test_what_an_earlier_model_call_mended_is_not_told_again() -> None:
    """The journal says once that a transcript was mended, not at every turn from then on."""
    mended = repair((asks("a"), user(), asks(text="I see")))

    assert is_whole(mended.messages)
    assert mended.notes == ()


def test_a_second_answer_is_left_out() -> None:
    """A service takes one answer a call; the first is what the model has seen."""
    mended = repair((asks("a"), tells("a", "first"), tells("a", "second")))

    assert [one.content for one in mended.messages] == ["", "first"]
    assert mended.notes == ({"tool_call_id": "a", "tool_name": "", "what": "second answer left out"},)


def test_an_answer_before_its_call_is_moved_behind_it_also_where_another_follows() -> None:
    """A service that reads the call would find two answers, one of them in the wrong place."""
    mended = repair((tells("a", "first"), asks("a"), tells("a", "second")))

    assert [(one.role, one.content) for one in mended.messages] == [("assistant", ""), ("tool", "first")]
    assert [note["what"] for note in mended.notes] == ["answer moved behind its call", "second answer left out"]


def test_a_synthetic_answer_at_the_end_is_kept_for_good_beside_a_declared_steps() -> None:
    """Otherwise every model call from then on would find the same context broken, and mend it again."""
    mended = repair((asks("a"), tells("step")))

    assert [one.call_id for one in mended.messages] == [None, "a", "step"]
    assert mended.added == mended.messages[1:2]


def test_a_call_that_is_asked_for_twice_is_asked_for_once() -> None:
    """Two calls of one id cannot be told apart by their answers."""
    mended = repair((asks("a"), tells("a"), asks("a", "b"), tells("b")))

    assert [[call.call_id for call in one.tool_calls] for one in mended.messages] == [["a"], [], ["b"], []]
    assert is_whole(mended.messages)


def test_a_declared_steps_answer_stays() -> None:
    """No model asked for it; the providers tell it as the user's words."""
    messages = (user(), tells("step"), asks(text="fine"))

    assert repair(messages).messages is messages


def test_the_event_counts_what_was_mended() -> None:
    """Its payload says how much, and what."""
    told = repaired_event(repair((asks("a", "b"),)).notes, "anthropic")

    assert (told["provider"], told["repair_count"]) == ("anthropic", 2)


PIECES = st.one_of(
    st.just(user()),
    st.sampled_from("abc").map(tells),
    st.lists(st.sampled_from("abcd"), max_size=3).map(lambda calls: asks(*calls)),
)


@given(st.lists(PIECES, max_size=12).map(tuple))
def test_any_context_is_whole_afterwards_and_loses_no_word(messages: tuple[Message, ...]) -> None:
    """Whatever order a crash left: valid after one pass, stable under a second, every person's word in its order."""
    mended = repair(messages)

    assert is_whole(mended.messages)
    assert repair(mended.messages).messages == mended.messages
    assert [one for one in mended.messages if one.role == "user"] == [one for one in messages if one.role == "user"]
    assert sum(one.role == "assistant" for one in mended.messages) == sum(one.role == "assistant" for one in messages)


@given(st.lists(PIECES, max_size=12).map(tuple))
def test_appending_what_was_added_mends_for_good(messages: tuple[Message, ...]) -> None:
    """What the commit appends to the stored context gives the same view without a repair of that call."""
    mended = repair(messages)

    again = repair((*messages, *mended.added))

    assert again.messages == mended.messages
    assert again.added == ()
