"""What is written beside the journal, exactly: pieces of an answer, webhooks on their way, and the counts of an index."""

from typing import Any

import pytest

from orchestrator.store.leases import Claimed, Commit
from tests.property.store_lab import APP, DIGEST, Lab, entry

#: How long a test may have taken, in ms.
SLACK = 60_000


@pytest.fixture
def held(one: Lab) -> str:
    """Return a session under a lease with the fence 5."""
    session_id = one.submit()
    assert isinstance(one.run(one.leases.claim(session_id, "w:1", (DIGEST,), known=0)), Claimed)
    one.run(one.store.command("HSET", one.key("record", session_id), "fence", 5))
    return session_id


def stream(lab: Lab, session_id: str, *words: str | int) -> list[Any]:
    """Append as the script gets it: fence, pieces kept, ms kept, number of the first piece, pieces."""
    return lab.run(lab.store.act("stream", session_id, *words))


def pieces(lab: Lab, session_id: str) -> list[tuple[str, str]]:
    """Return what is kept of the stream: each piece with its offset."""
    rows = lab.run(lab.store.command("XRANGE", lab.key("tokens", session_id), "-", "+"))
    return [(offset, fields[1]) for offset, fields in rows]


def test_pieces_that_are_sent_again_are_passed_over(one: Lab, held: str) -> None:
    """A lost reply, or a batch that begins before the last one ended: each piece is there once."""
    said = [stream(one, held, 5, 9, 9_000, first, *words) for first, words in ((1, "abc"), (1, "abc"), (2, "bcd"))]

    assert said == [["streamed", "5-3"], ["streamed", "5-3"], ["streamed", "5-4"]]
    assert pieces(one, held) == [("5-1", "a"), ("5-2", "b"), ("5-3", "c"), ("5-4", "d")]


def test_the_next_holder_begins_at_one_behind_the_last(one: Lab, held: str) -> None:
    """Its numbers are smaller and its fence is not: an offset stays behind what comes later. The old one writes no more."""
    stream(one, held, 5, 9, 9_000, 1, *"abc")
    one.run(one.store.command("HSET", one.key("record", held), "fence", 6))

    assert stream(one, held, 5, 9, 9_000, 4, "d") == ["stale"]
    assert stream(one, held, 6, 9, 9_000, 1, "x", "y") == ["streamed", "6-2"]
    assert pieces(one, held)[2:] == [("5-3", "c"), ("6-1", "x"), ("6-2", "y")]


def test_a_store_that_lost_its_last_second_streams_on_behind_what_is_there(one: Lab, held: str) -> None:
    """After a failover a fence may be smaller than one that was seen: what cannot be appended is left out, and is no error."""
    one.run(one.store.command("XADD", one.key("tokens", held), "7-2", "p", "z"))

    assert stream(one, held, 5, 9, 9_000, 1, "a")[0] == "streamed"
    assert pieces(one, held) == [("7-2", "z")]


def test_the_newest_pieces_are_kept_for_their_time(one: Lab, held: str) -> None:
    """Exactly as many as the settings say."""
    stream(one, held, 5, 3, 9 * SLACK, 1, *"abcde")

    assert [piece for _, piece in pieces(one, held)] == ["c", "d", "e"]
    assert 8 * SLACK < one.run(one.store.command("PTTL", one.key("tokens", held))) <= 9 * SLACK


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("bad", ["", "x", "-1", "1.5"])
def test_a_piece_with_a_number_that_is_none_is_not_written(one: Lab, held: str, at: int, bad: str) -> None:
    """Nothing but what was there before."""
    words: list[str | int] = [5, 9, 9_000, 1, "a"]
    words[at] = bad

    assert stream(one, held, *words) == ["malformed"]
    assert stream(one, held, 5, 9, 9_000, 0, "a") == ["malformed"]
    assert pieces(one, held) == []


def deliver(lab: Lab, **times: int) -> None:
    """Put deliveries on their way; the one that is called `lost` has no body."""
    keys = lab.store.keys
    for name, at in times.items():
        lab.run(lab.store.command("ZADD", keys.of_partition("deliveries", 0), at, name))
        if name != "lost":
            lab.run(lab.store.command("HSET", keys.of_partition("deliveryinfo", 0), name, f"body of {name}"))


def take(lab: Lab, most: int | str, lease_ms: int | str) -> list[Any]:
    """Take deliveries."""
    return lab.run(lab.store.act_on_partition("take_deliveries", 0, most, lease_ms))


def test_a_delivery_is_taken_by_one_and_again_only_after_its_time(one: Lab) -> None:
    """The oldest first, no more than asked for, none before its time; one without a body goes."""
    deliver(one, c=30, lost=5, a=10, b=20, later=9_000_000_000_000)

    assert take(one, 3, 9 * SLACK) == ["taken", ["a", "body of a", "b", "body of b"]]
    assert take(one, 9, 9 * SLACK) == ["taken", ["c", "body of c"]]
    assert take(one, 9, 9 * SLACK) == ["taken", []]
    flat = one.run(one.store.command("ZRANGE", one.store.keys.of_partition("deliveries", 0), 0, -1, "WITHSCORES"))
    now = one.run(one.store.now_ms())
    assert flat[::2] == ["a", "b", "c", "later"]
    assert all(8 * SLACK < int(at) - now <= 9 * SLACK for at in flat[1:6:2])


@pytest.mark.parametrize(("most", "lease_ms"), [("x", 1), (1, "x"), (-1, 1), (1, -1)])
def test_deliveries_are_not_taken_for_a_number_that_is_none(one: Lab, most: int | str, lease_ms: int | str) -> None:
    """A lease that ends before it begins would send everything twice."""
    deliver(one, a=10)

    assert take(one, most, lease_ms) == ["malformed"]
    assert take(one, 1, 1)[1] == ["a", "body of a"]


def test_a_number_has_at_most_fourteen_digits(one: Lab) -> None:
    """Lua writes a longer one with an exponent, which no command takes: it would be refused half-way."""
    deliver(one, a=10)

    assert take(one, 10**14, 1) == ["malformed"]
    assert take(one, 10**14 - 1, 1) == ["taken", ["a", "body of a"]]


def test_what_happens_is_noted_for_webhooks_only_where_somebody_is_to_be_told(one: Lab) -> None:
    """Without an outbox no line is written: nobody would ever read it."""
    silent = one.submit()
    end(one, silent)
    outbox = one.key("outbox", silent)
    before = one.run(one.store.command("EXISTS", outbox))
    one.run(one.store.command("XGROUP", "CREATE", outbox, "hooks", "$", "MKSTREAM"))
    told = one.submit()
    end(one, told)

    assert before == 0
    [(_, flat)] = one.run(one.store.command("XRANGE", outbox, "-", "+"))
    assert dict(zip(flat[::2], flat[1::2], strict=True)).items() >= {"sid": told, "app": APP, "phase": "dead"}.items()


def end(lab: Lab, session_id: str) -> None:
    """Make a dead letter."""
    held = lab.run(lab.leases.claim(session_id, f"w:{session_id}", (DIGEST,), known=0))
    assert isinstance(held, Claimed)
    lab.commit(session_id, held.record.fence, held.record.rev, Commit("dead", {}, (entry(),), reason="why"))
