"""Compaction: where the cut goes, what a model sees afterwards, and that it always comes to an end."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.context import Compacted
from orchestrator.contracts.messages import Message, Reasoning, ToolRequest
from orchestrator.kernel.compaction import (
    Cut,
    apply_cut,
    compacted_event,
    count_tokens,
    estimate_tokens,
    plan_cut,
    shorten,
    shown,
    simple_words,
    summary_words,
    tell_messages,
)
from orchestrator.kernel.transcript import is_whole


def turn(number: int, size: int = 100) -> tuple[Message, ...]:
    """Return one turn: a call, its answer, a word."""
    call = ToolRequest(call_id=f"c{number}", tool="box:look")
    return (
        Message(role="assistant", tool_calls=(call,), skill="work"),
        Message(role="tool", call_id=f"c{number}", content="x" * size, skill="work"),
        Message(role="assistant", content=f"said {number}", skill="work"),
    )


def talk(turns: int, size: int = 100) -> tuple[Message, ...]:
    """Return a context that begins with what was asked."""
    return (Message(role="user", content="please"), *(one for number in range(turns) for one in turn(number, size)))


def test_within_the_budget_nothing_happens() -> None:
    """The ordinary turn sees every message, word for word."""
    messages = talk(3)

    assert plan_cut(messages, None, max_tokens=count_tokens(messages), keep_tokens=10) is None
    assert shown(messages, None) is messages


def test_the_newest_stay_and_no_call_is_parted_from_its_answer() -> None:
    """What a model sees after a cut is a transcript that a service accepts."""
    messages = talk(10)

    cut = plan_cut(messages, None, max_tokens=100, keep_tokens=60)

    assert cut is not None
    assert messages[cut.upto].role == "assistant"
    after = shown(messages, apply_cut(None, cut, simple_words(cut), most_tokens=100))
    assert after[0].role == "system"
    assert after[1] == messages[0]
    assert after[-1] == messages[-1]
    assert is_whole(after)
    assert count_tokens(after) <= 100


def test_the_last_exchange_stays_however_large() -> None:
    """A model that saw nothing of its last call would make it again."""
    messages = talk(3, size=4_000)[:-1]

    cut = plan_cut(messages, None, max_tokens=100, keep_tokens=0)

    assert cut is not None
    assert messages[cut.upto :] == messages[-2:]


def test_what_a_call_asks_for_costs_as_words_do() -> None:
    """A file that is written in an argument fills a model's window like one that is read."""
    call = ToolRequest(call_id="c", tool="box:put", args={"text": "x" * 78})

    assert estimate_tokens(Message(role="assistant", content="w" * 3, tool_calls=(call, call))) == 48 + 4


@pytest.mark.parametrize(("keep_tokens", "stay"), [(0, 1), (14, 1), (27, 1), (28, 2), (41, 2), (42, 3), (999, 9)])
@pytest.mark.parametrize("first", ["user", "assistant"])
def test_as_many_of_the_newest_stay_as_fit(first: Literal["user", "assistant"], keep_tokens: int, stay: int) -> None:
    """At least the last one, and never all that may go; what was asked is not left out, any other first message is."""
    messages = (Message(role=first, content="please"), *[Message(role="assistant", content="x" * 40)] * 6)[:6]

    cut = plan_cut(messages, None, max_tokens=10, keep_tokens=keep_tokens)

    since = 1 if first == "user" else 0
    upto = max(6 - stay, since + 1)
    assert cut == Cut(since, upto, count_tokens(messages), messages[since:upto])


def test_a_second_cut_goes_on_where_the_first_ended() -> None:
    """What was summarised is not summarised again from its messages, only with its words."""
    messages = talk(20)
    first = plan_cut(messages[:31], None, max_tokens=200, keep_tokens=100)
    assert first is not None
    compacted = apply_cut(None, first, summary_words(first, "early"), most_tokens=100)

    second = plan_cut(messages, compacted, max_tokens=200, keep_tokens=100)

    assert second is not None
    assert (second.since, second.left_out[0]) == (first.upto, messages[first.upto])
    assert apply_cut(compacted, second, "late", most_tokens=100).count == 2


def test_words_have_a_limit() -> None:
    """A summary that grows with every compaction would be the context again."""
    cut = plan_cut(talk(10), None, max_tokens=100, keep_tokens=0)
    assert cut is not None

    compacted = apply_cut(None, cut, "w" * 10_000, most_tokens=50)

    assert len(compacted.words) == 200
    assert compacted.words.endswith(" (cut)")


def test_a_summary_is_made_of_all_that_fits() -> None:
    """Calls, answers and words, in their order, after the summary of what came before; the oldest lines go first."""
    told = tell_messages(talk(2), "before", most_tokens=1_000)

    assert told.splitlines()[:2] == ["before", ""]
    assert told.splitlines()[2] == "user: please"
    assert "assistant (work) calls box:look {}" in told
    assert tell_messages(talk(50), "before", most_tokens=50).startswith("before")
    assert "said 0" not in tell_messages(talk(50), "before", most_tokens=50)


@pytest.mark.parametrize(("before", "oldest"), [("bbbb", 0), ("bbbbb", 1), ("b" * 15, 1), ("b" * 16, 2)])
def test_a_summary_loses_no_line_that_has_room(before: str, oldest: int) -> None:
    """Oldest first, one by one: what came before takes its part of the room, and each line its own with its end."""
    messages = [Message(role="user", content=f"say{number}") for number in range(4)]

    told = tell_messages(messages, before, most_tokens=12)

    assert told.splitlines() == [before, "", *(f"user: say{number}" for number in range(oldest, 4))]


@given(st.text(), st.integers(0, 30))
def test_a_text_is_never_longer_than_it_may_be(text: str, most: int) -> None:
    """Also where there is no room to say that it was cut; and one that fits stays as it is."""
    short = shorten(text, most)

    assert len(short) <= most
    assert short == text or len(text) > most


def test_so_few_characters_say_nothing_of_a_cut() -> None:
    """A mark without any text would tell less than the text's beginning."""
    assert [shorten("a long story", most) for most in (0, 1, 6, 7)] == ["", "a", "a long", "a (cut)"]


def test_a_context_that_is_shorter_than_its_cut_is_shown_whole() -> None:
    """A store that was restored from before: better too much than words about nothing."""
    assert shown(talk(1), Compacted(upto=90, words="w")) == talk(1)
    assert shown(talk(1), Compacted(upto=4, words="w")) == (Message(role="system", content="w"), talk(1)[0])


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30), st.integers(1, 300), st.integers(0, 300))
def test_compacting_comes_to_an_end(sizes: list[int], budget: int, keep: int) -> None:
    """Cuts only move forward: whatever the budget, there is a point from which the model is simply called."""
    messages = (Message(role="user", content="please"), *(m for n, size in enumerate(sizes) for m in turn(n, size)))
    compacted, cuts = None, 0
    while cut := plan_cut(messages, compacted, max_tokens=budget, keep_tokens=keep):
        assert compacted is None or cut.upto > compacted.upto
        compacted = apply_cut(compacted, cut, simple_words(cut), most_tokens=50)
        cuts += 1

    assert cuts <= len(messages)
    assert is_whole(shown(messages, compacted))


def test_what_hooks_hear_of_a_compaction_counts_what_a_model_sees() -> None:
    """Before and after it, with what each of the two adds."""
    assert compacted_event("simple", tokens=7, messages=2, strategy="cut") == {
        "manager": "simple",
        "token_count": 7,
        "message_count": 2,
        "strategy": "cut",
    }


def test_what_a_model_thought_counts_too() -> None:
    """It is sent with every call: a context of long thoughts would be over its window, and look small."""
    thought = Reasoning(by="p/m", parts={"blocks": "x" * 387})  # 400 with the rest of the JSON
    plain = Message(role="assistant", content="x" * 40)

    assert estimate_tokens(plain.model_copy(update={"reasoning": thought})) == estimate_tokens(plain) + 100
