"""Acts that are done once in a session's life, exactly: created, forked, renewed, refused, replayed, removed."""

import json
from typing import Any

import pytest

from orchestrator.contracts.errors import LeaseLost
from orchestrator.store.leases import Claimed, Commit
from tests.property.store_lab import APP, DIGEST, Lab, entry

FORK = "SES-20260101-001"
DAY = 86_400
#: How long a test may have taken, in ms.
SLACK = 60_000


def act(lab: Lab, name: str, session_id: str, *words: str | int) -> list[Any]:
    """Do an act as the script gets it."""
    return lab.run(lab.store.act(name, session_id, *words))


def hold(lab: Lab, session_id: str) -> Claimed:
    """Claim for sure."""
    held = lab.run(lab.leases.claim(session_id, "w:1", (DIGEST,), known=0, alone=True))
    assert isinstance(held, Claimed)
    return held


def stat(lab: Lab, name: str) -> str | None:
    """Return one of the partition's counters."""
    found: str | None = lab.run(lab.store.command("HGET", lab.store.keys.of_partition("stats", 0), name))
    return found


def size(lab: Lab) -> int:
    """Return how many keys there are."""
    return int(lab.run(lab.store.command("DBSIZE")))


def fork(
    lab: Lab,
    *,
    intents: dict[str, str] | None = None,
    messages: tuple[str, ...] = (),
    most: str | int = 500,
    most_bytes: str | int = 99_999,
    digest: str = "d",
) -> list[Any]:
    """Create a fork as the script gets it."""
    fields = {"app": APP, "rank": "1", "spec": DIGEST}
    flat = [word for pair in (fields | (intents or {})).items() for word in pair]
    counts = (len(fields), len(intents or {}))
    return act(lab, "fork", FORK, digest, "bell", entry("submitted"), *counts, "al", most, most_bytes, *flat, *messages)


def test_the_same_words_under_a_taken_id_are_told_apart(one: Lab) -> None:
    """A counter of ids that was reset must not make one session of two requests."""
    words = ("bell", entry("submitted"), 2, "app", APP, "rank", "1", "hello")
    first = act(one, "submit", FORK, "d", *words)
    before = one.snapshot(FORK)

    assert first[0] == "created"
    assert act(one, "submit", FORK, "d", *words) == ["existing", "d", ""]
    assert act(one, "submit", FORK, "other", *words) == ["taken", "d", ""]
    assert fork(one, digest="d") == ["existing", "d", ""]
    assert fork(one, digest="other") == ["taken", "d", ""]
    assert one.snapshot(FORK) == before
    assert (before.context, before.record["seq"], stat(one, f"submitted:{APP}")) == (["hello"], "1", "1")


def test_the_same_words_under_another_key_are_another_request(one: Lab) -> None:
    """Where an id is given twice: whoever asked under its own key must not be told of somebody else's session."""
    words = ("bell", entry("submitted"), 3, "app", APP, "rank", "1", "key")
    act(one, "submit", FORK, "d", *words, "k1")

    assert act(one, "submit", FORK, "d", *words, "k1") == ["existing", "d", "k1"]
    assert act(one, "submit", FORK, "d", *words, "k2") == ["taken", "d", "k1"]
    assert act(one, "submit", FORK, "d", *words[:2], 2, *words[3:7]) == ["taken", "d", "k1"]
    assert fork(one, digest="d") == ["taken", "d", "k1"]


def test_numbers_are_taken_in_whole_and_kept_for_a_time(one: Lab) -> None:
    """Of none, or for no time, nothing is made."""

    def mint(count: str, seconds: str) -> list[Any]:
        return one.run(one.store.act_on_key("mint", "baton:ids:A:1", count, seconds))

    for bad in ("0", "", "x", "-1", "1.5"):
        assert mint(bad, "60") == mint("1", bad) == ["malformed"]
    assert one.run(one.store.command("EXISTS", "baton:ids:A:1")) == 0
    assert [mint(count, "60") for count in ("1", "5", "1")] == [["minted", 1], ["minted", 6], ["minted", 7]]


def test_a_key_is_moved_from_where_it_was_found_and_from_nowhere_else(one: Lab) -> None:
    """Of all who find its session lost, one moves it, and the others are told where to."""

    def move(found: str, wanted: str, seconds: str = "60") -> list[Any]:
        return one.run(one.store.act_on_key("move_key", "baton:idem:a:k", found, wanted, seconds))

    def read(word: str) -> Any:
        return one.run(one.store.command(word, "baton:idem:a:k"))

    one.run(one.store.command("SET", "baton:idem:a:k", "S1 d"))
    assert move("S0 d", "S2 d") == ["elsewhere", "S1 d"]
    assert [move("S1 d", "S2 d", seconds) for seconds in ("0", "x", "-1")] == [["malformed"]] * 3
    assert (read("GET"), read("TTL")) == ("S1 d", -1)
    assert move("S1 d", "S2 d") == ["moved"]
    assert move("S1 d", "S2 d") == ["moved"]
    assert move("S1 d", "S3 d") == ["elsewhere", "S2 d"]
    assert read("GET") == "S2 d"
    assert 0 < read("TTL") <= 60
    read("DEL")
    assert (move("S2 d", "S3 d"), read("GET")) == (["moved"], "S3 d")


@pytest.mark.parametrize("cut", [1, 2])
def test_a_session_whose_words_were_cut_off_is_not_created(one: Lab, cut: int) -> None:
    """A field without its value would shift the messages behind it."""
    words: tuple[str | int, ...] = ("d", "bell", entry("submitted"), 3, "app", APP, "rank", "1", "text", "x")

    assert act(one, "submit", FORK, *words[:-cut]) == ["malformed"]
    assert act(one, "submit", FORK, *words[:3], "x", *words[4:]) == ["malformed"]
    forked = (*words[:4], 0, "al", 500, 9_999, *words[4:])
    assert act(one, "fork", FORK, *forked[:-cut]) == ["malformed"]
    assert act(one, "fork", FORK, *forked[:4], 1, *forked[5:], *("c", "{}")[:-cut]) == ["malformed"]
    assert size(one) == 0


def test_a_fork_with_a_number_that_is_none_or_without_its_place_in_line_is_not_created(one: Lab) -> None:
    """Half of a session would be left."""
    words: list[str | int] = ["d", "bell", entry("submitted"), 2, 0, "al", 500, 9_999, "app", APP, "rank", "1"]

    for place in (3, 4, 6, 7):
        assert act(one, "fork", FORK, *words[:place], "x", *words[place + 1 :]) == ["malformed"]
    assert act(one, "fork", FORK, *words[:8], "app", APP, "spec", "s") == ["malformed"]
    assert size(one) == 0


def test_a_fork_has_its_fields_its_open_calls_and_its_context_each_in_its_place(one: Lab) -> None:
    """Nothing of one slips into the other."""
    calls = {"c1": '{"a":1}', "c2": '{"a":2}', "c3": '{"a":3}'}

    assert fork(one, intents=calls, messages=("m1", "m2"))[0] == "created"
    made = one.snapshot(FORK)
    assert (made.intents, made.context) == (calls, ["m1", "m2"])
    assert {name: made.record[name] for name in ("app", "rank", "spec", "seq")} == {
        "app": APP,
        "rank": "1",
        "spec": DIGEST,
        "seq": "2",
    }
    assert not {"c1", "m1"} & made.record.keys()


def carried(lab: Lab) -> list[list[str]]:
    """Return which messages each entry of the fork's journal carries; fail where numbers have a gap."""
    rows = lab.run(lab.store.command("XRANGE", lab.key("journal", FORK), "-", "+"))
    assert [number for number, _ in rows] == [f"{number}-0" for number in range(1, len(rows) + 1)]
    assert lab.snapshot(FORK).record["seq"] == str(len(rows))
    return [json.loads(fields[3])["messages"] for _, fields in rows[1:]]


@pytest.mark.parametrize(
    ("many", "most", "most_bytes", "pieces"),
    [
        (0, 2, 99, []),
        (1, 2, 99, [1]),
        (2, 2, 99, [2]),
        (5, 2, 99, [2, 2, 1]),
        (6, 9, 20, [2, 2, 2]),
        (6, 9, 21, [3, 3]),
        (5, 9, 1, [1, 1, 1, 1, 1]),
    ],
)
def test_a_context_is_carried_in_pieces_that_lose_nothing(
    one: Lab, many: int, most: int, most_bytes: int, pieces: list[int]
) -> None:
    """An entry is bounded by messages and by bytes; together they are the context, in order."""
    messages = tuple(f"message-{number:02d}" for number in range(many))
    fork(one, messages=messages, most=most, most_bytes=most_bytes)

    found = carried(one)

    assert [len(piece) for piece in found] == pieces
    assert tuple(message for piece in found for message in piece) == messages == tuple(one.snapshot(FORK).context)


def test_a_renewed_lease_ends_so_long_from_now(one: Lab) -> None:
    """And only its holder's: without a lease, or with an old fence, there is nothing to renew."""
    session_id = one.submit()
    held = hold(one, session_id).record

    assert act(one, "renew", session_id, held.fence, 9 * SLACK) == ["renewed", "", ""]
    lease = one.snapshot(session_id).lease
    assert lease is not None
    assert 8 * SLACK < lease - one.run(one.store.now_ms()) <= 9 * SLACK
    with pytest.raises(LeaseLost):
        one.run(one.leases.renew(session_id, held.fence - 1))
    one.run(one.store.command("ZREM", one.key("leases", session_id), session_id))
    with pytest.raises(LeaseLost):
        one.run(one.leases.renew(session_id, held.fence))
    assert one.snapshot(session_id).lease is None


def test_a_mark_of_what_is_not_there_is_none_and_the_same_again_is_one(one: Lab) -> None:
    """A key that nobody removes would be left of a session that was archived meanwhile."""
    session_id = one.submit()
    held = hold(one, session_id).record

    assert act(one, "mark", FORK) == ["missing"]
    assert not one.run(one.store.command("EXISTS", one.key("marks", FORK)))
    assert [act(one, "mark", session_id) for _ in range(2)] == [["marked", "1"], ["marked", "1"]]
    one.commit(session_id, held.fence, held.rev, Commit("ready", {}, (entry(),)))
    assert [act(one, "mark", session_id) for _ in range(2)] == [["marked", "2"], ["marked", "2"]]
    rows = one.run(one.store.command("XRANGE", one.key("marks", session_id), "-", "+"))
    assert [number for number, _ in rows] == ["1-0", "2-0"]


def test_refused_answers_are_noted_up_to_their_number(one: Lab) -> None:
    """Each is one line and one count, also where it is said again because the reply was lost; at the limit no more is written."""
    session_id = one.submit()
    said = [act(one, "refuse", session_id, entry("refused"), 2, 400, f"r{number // 2}") for number in range(6)]
    now = one.snapshot(session_id)

    assert said == [["noted", 2], ["noted", 2], ["noted", 3], ["noted", 3], ["enough", 2], ["enough", 2]]
    assert [number for number, _ in now.journal] == ["1-0", "2-0", "3-0"]
    assert (now.record["seq"], now.record["refusals"], stat(one, "refused")) == ("3", "2", "2")
    assert act(one, "refuse", FORK, entry("refused"), 2, 400, "r") == ["missing"]


def test_a_note_leaves_the_last_hundred_entries_of_a_journal_to_the_session(one: Lab) -> None:
    """Whoever tries again and again must not use up what the session needs to come to its end."""
    session_id = one.submit()

    assert act(one, "refuse", session_id, entry("refused"), 9, 101, "r1") == ["enough", 0]
    assert act(one, "refuse", session_id, entry("refused"), 9, 102, "r2") == ["noted", 2]
    assert act(one, "refuse", session_id, entry("refused"), 9, 102, "r3") == ["enough", 1]


@pytest.mark.parametrize("wrong", ["most", "entries", "seq", "refusals", "request"])
def test_a_note_with_a_number_that_is_none_is_not_written(one: Lab, wrong: str) -> None:
    """Neither the one who asks nor the record is believed."""
    session_id = one.submit()
    if wrong in {"seq", "refusals"}:
        one.run(one.store.command("HSET", one.key("record", session_id), wrong, "x"))
    before = one.snapshot(session_id)
    words = {"most": 9, "entries": 400, "request": "r"} | {wrong: "" if wrong == "request" else "x"}

    assert act(one, "refuse", session_id, entry("refused"), *list(words.values())[:3]) == ["malformed"]
    assert one.snapshot(session_id) == before


def test_a_replayed_letter_begins_anew_and_is_counted_once(one: Lab) -> None:
    """No letter, no failure, no attempts; one entry, one place in line."""
    session_id = one.submit()
    held = hold(one, session_id).record
    one.commit(session_id, held.fence, held.rev, Commit("dead", {}, (entry(),), reason="why", status="so"))

    assert act(one, "replay", session_id, entry("replayed"), "bell", "{}", 1) == ["malformed"]
    assert act(one, "replay", session_id, entry("replayed"), "bell", "{}", 1, "", 1) == ["malformed"]
    assert act(one, "replay", session_id, entry("replayed"), "bell", "{}", 1, "r1") == ["malformed"]
    assert act(one, "replay", session_id, entry("replayed"), "bell", "{}", 1, "r1", 0) == ["changed"]
    assert act(one, "replay", session_id, entry("replayed"), "bell", "{}", 1, "r1", 1)[0] == "replayed"
    assert act(one, "replay", session_id, entry("replayed"), "bell", "{}", 1, "r2", 1) == ["not_dead", "ready"]
    now = one.snapshot(session_id)
    assert [number for number, _ in now.journal] == [f"{number}-0" for number in range(1, len(now.journal) + 1)]
    assert now.record["seq"] == str(len(now.journal))
    assert (now.record["replays"], now.record["attempts"], now.record["cursor"]) == ("1", "0", "{}")
    assert (now.dead, now.deadinfo, stat(one, "replayed")) == (None, None, "1")
    assert [member.split(":")[1] for member in now.members] == ["ready"]


def test_a_replay_whose_reply_was_lost_is_answered_again_and_sends_no_other_letter(one: Lab) -> None:
    """Meanwhile the session may have run, and died of something else: that letter nobody has looked at."""
    session_id = one.submit()
    bury(one, session_id)
    request = (entry("replayed"), "bell", '{"skill":"work"}', 1, "r1", 1)
    assert act(one, "replay", session_id, *request)[0] == "replayed"
    assert act(one, "replay", session_id, *request)[0] == "replayed"
    bury(one, session_id)
    before = one.snapshot(session_id)

    assert act(one, "replay", session_id, *request)[0] == "replayed"

    assert one.snapshot(session_id) == before
    assert (before.record["phase"], before.record["replays"], stat(one, "replayed")) == ("dead", "1", "1")
    one.run(one.intake.replay(session_id, "al"))
    assert one.snapshot(session_id).record["replays"] == "2"


def bury(lab: Lab, session_id: str) -> None:
    """Let a session be claimed, and die."""
    held = hold(lab, session_id).record
    lab.commit(session_id, held.fence, held.rev, Commit("dead", {}, (entry(),), reason="why", status="so"))


def ended(lab: Lab, *, key_seconds: int = 0) -> str:
    """Return a session that ended."""
    kept = ("key_seconds", key_seconds) if key_seconds else ("text", "")
    act(lab, "submit", FORK, "d", "bell", entry("submitted"), 4, "app", APP, "rank", "1", "spec", DIGEST, *kept)
    lab.run(lab.store.command("HSET", lab.key("record", FORK), "cursor", '{"skill":"work"}', "state", "{}"))
    for directive in ("finalizing", "ended"):
        act(lab, "claim", FORK, directive, 60_000, 9, 0, 0, 1, 1, DIGEST)
        record = lab.snapshot(FORK).record
        fence, rev = int(record["fence"]), int(record["rev"])
        lab.commit(FORK, fence, rev, Commit(directive, {}, (entry(),), status="done"))  # type: ignore[arg-type]
    return FORK


@pytest.mark.parametrize("seconds", [0, 1_000 * DAY])
def test_what_is_removed_leaves_its_digest_for_as_long_as_its_key(one: Lab, seconds: int) -> None:
    """The same submission again finds it until then; nothing else is left, not even a trace of a wake-up."""
    session_id = ended(one, key_seconds=seconds)
    one.run(one.store.command("ZADD", one.key("sent", session_id), 9_000_000_000_000, session_id))
    act(one, "mark", session_id)
    record = one.snapshot(session_id).record

    assert act(one, "prune", session_id, record["rev"], record["seq"]) == ["pruned"]
    assert act(one, "prune", session_id, record["rev"], record["seq"]) == ["missing"]
    left = one.run(one.store.command("PTTL", one.key("gone", session_id)))
    assert (1_000 * seconds - SLACK < left <= 1_000 * seconds) if seconds else left == -2
    keys = set(one.run(one.store.command("KEYS", "*"))) - {one.key("gone", session_id)}
    assert keys == {one.key("stats", session_id)}
    assert stat(one, "archived") == "1"


@pytest.mark.parametrize("field", ["created", "key_seconds"])
def test_a_session_whose_times_cannot_be_read_is_removed_all_the_same(one: Lab, field: str) -> None:
    """The archive has it; its key means nothing any more."""
    session_id = ended(one, key_seconds=DAY)
    one.run(one.store.command("HSET", one.key("record", session_id), field, "x"))
    record = one.snapshot(session_id).record

    assert act(one, "prune", session_id, record["rev"], record["seq"]) == ["pruned"]
    assert not one.run(one.store.command("EXISTS", one.key("gone", session_id), one.key("record", session_id)))


def test_what_is_not_what_was_archived_is_not_removed(one: Lab) -> None:
    """Another revision, a longer journal, a session that lives: the archive has to read it again."""
    session_id = ended(one)
    alive = one.submit()
    record = one.snapshot(session_id).record
    rev, seq = int(record["rev"]), int(record["seq"])

    assert act(one, "prune", session_id, rev + 1, seq) == ["changed", "ended"]
    assert act(one, "prune", session_id, rev, seq + 1) == ["changed", "ended"]
    assert act(one, "prune", session_id, "x", seq) == ["malformed"]
    assert act(one, "prune", session_id, rev, "x") == ["malformed"]
    assert act(one, "prune", alive, 0, 1) == ["changed", "ready"]
    assert one.snapshot(session_id).record == record
