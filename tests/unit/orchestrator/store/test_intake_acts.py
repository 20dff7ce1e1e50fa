"""Taking in: one session a key, whoever repeats; bad requests leave nothing behind."""

import asyncio
from typing import Any

import pytest

from orchestrator.contracts.errors import (
    InputError,
    KeyConflict,
    NotWaiting,
    PayloadTooLarge,
    PhaseRefused,
    SessionNotFound,
    StoreUnreachable,
    Unreadable,
)
from orchestrator.contracts.session import Cursor, Entry, Post
from orchestrator.store.cluster import open_wire
from orchestrator.store.durability import Durability
from orchestrator.store.forks import create_fork
from orchestrator.store.intake import COUNTER_SECONDS, POSTS_AT_ONCE, Intake, Submitted
from orchestrator.store.keys import APPS, CANCELS, idempotency_key
from orchestrator.store.leases import Claimed, Commit
from orchestrator.store.servers import ask_each
from orchestrator.store.store import Store
from tests.chaos.newer import write_newer
from tests.property.store_lab import APP, DIGEST, PREFIX, DyingServer, Lab, draft, entry


def submit(lab: Lab, key: str | None, *, text: str = "hello", spec: str = DIGEST) -> Submitted:
    """Submit under a key."""
    return lab.run(lab.intake.submit(draft(text=text, spec=spec), PREFIX, key=key))


def test_a_repeated_submission_is_one_session(lab: Lab) -> None:
    """Whoever does not know whether the first one arrived may send it again."""
    first, again = submit(lab, "k"), submit(lab, "k")

    assert first.session_id == again.session_id
    assert (first.created, again.created) == (True, False)


def test_the_same_request_after_a_deploy_is_the_same_session(lab: Lab) -> None:
    """The app's new version changes nothing of what was asked for."""
    assert submit(lab, "k").session_id == submit(lab, "k", spec="digest-2").session_id


def test_the_same_request_after_an_upgrade_is_the_same_session(lab: Lab) -> None:
    """What a newer Baton writes into a session is none of the caller's words; another skill is."""
    first = submit(lab, "k")
    undo = write_newer()
    try:
        assert submit(lab, "k").session_id == first.session_id
    finally:
        undo()
    other = draft().model_copy(update={"cursor": Cursor(skill="elsewhere")})
    with pytest.raises(KeyConflict):
        lab.run(lab.intake.submit(other, PREFIX, key="k"))


def test_a_key_is_safe_before_its_session_is_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie on another server of a cluster, and that one may die: a repetition would make a second session."""
    server = DyingServer(lab, "DEL", idempotency_key(APP, "k"))
    monkeypatch.setattr(lab.store, "_confirmer", server)
    first, again = submit(lab, "k"), submit(lab, "k")

    assert first.session_id == again.session_id
    assert server.asked >= 4


def test_what_was_said_before_is_safe_before_anybody_hears_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender was never answered, as where the API died in between; who repeats it must not rely on what is lost then."""
    session_id = submit(lab, None).session_id
    assert lab.run(lab.intake.post(session_id, Post(post_id="p", kind="signal", actor="ada", name="go")))
    monkeypatch.setattr(lab.store, "_confirmer", DyingServer(lab, "ZREM", lab.key("seen", session_id), "p"))

    with pytest.raises(StoreUnreachable, match="say it again"):
        lab.run(lab.intake.took(session_id, "p"))

    assert not lab.run(lab.intake.took(session_id, "p"))
    assert lab.run(lab.intake.post(session_id, Post(post_id="p", kind="signal", actor="ada", name="go")))
    assert lab.run(lab.intake.took(session_id, "p"))


@pytest.mark.parametrize("what", ["key", "session"])
def test_a_session_that_is_found_by_its_key_is_safe(lab: Lab, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A webhook that is sent again is answered with it: neither it nor its key may be lost then."""
    session_id = submit(lab, "k").session_id
    lost, at = (idempotency_key(APP, "k"), 2) if what == "key" else (lab.key("record", session_id), 1)
    monkeypatch.setattr(lab.store, "_confirmer", DyingServer(lab, "DEL", lost, at=at))

    assert lab.run(lab.intake.find(APP, "k")) is None


def test_a_session_that_is_there_is_found_by_its_key(lab: Lab) -> None:
    """And by no other."""
    assert lab.run(lab.intake.find(APP, "k")) is None
    session_id = submit(lab, "k").session_id
    assert lab.run(lab.intake.find(APP, "k")) == session_id


def test_an_app_is_known_safely_before_its_first_session_is_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie on another server of a cluster, and that one may die: nobody would ever look for the sessions of that app."""
    server = DyingServer(lab, "DEL", APPS)
    monkeypatch.setattr(lab.store, "_confirmer", server)
    lab.run(lab.store.command("DEL", APPS))
    submit(lab, None)
    known = lab.run(lab.store.command("SMEMBERS", APPS))
    first = server.asked
    submit(lab, None)

    assert known == [APP]
    assert server.asked - first == 1  # an app that is known costs nothing


@pytest.mark.parametrize("by", ["ourselves", "another"])
def test_an_app_that_is_there_is_not_safe_for_that(lab: Lab, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """We made it known and the answer was lost, or somebody else did who waits still: it may be gone with its server all the same."""
    server = DyingServer(lab, "DEL", APPS)
    monkeypatch.setattr(lab.store, "_confirmer", server)
    lab.run(lab.store.command(*(("DEL", APPS) if by == "ourselves" else ("SADD", APPS, APP))))
    lose_answer(lab, monkeypatch, "SADD")

    submit(lab, None)

    assert lab.run(lab.store.command("SMEMBERS", APPS)) == [APP]


def test_a_counter_of_ids_goes_some_time_after_its_day(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the answer of its first act was lost, or one who began it died then; and it does not stay for longer while it is used."""
    lose_answer(lab, monkeypatch, "EVALSHA")
    first = lab.run(lab.intake.mint("SES"))
    (counter,) = lab.run(every_key(lab, "baton:ids:*"))
    begun = lab.run(lab.store.command("TTL", counter))
    lab.run(lab.store.command("PERSIST", counter))
    second = lab.run(lab.intake.mint("SES"))
    mended = lab.run(lab.store.command("TTL", counter))
    lab.run(lab.store.command("EXPIRE", counter, 3_600))
    third = lab.run(lab.intake.mint("SES", step=7))

    assert [one.rpartition("-")[2] for one in (first, second, third)] == ["002", "003", "010"]
    assert 0 < lab.run(lab.store.command("TTL", counter)) <= 3_600 < min(begun, mended)
    assert max(begun, mended) <= COUNTER_SECONDS


def lose_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Let the answer to the first command of this name be lost: it was done, and is done again."""
    really, lost = lab.store.wire.command, list[Any]()

    async def command(*args: Any, **more: Any) -> Any:
        reply = await really(*args, **more)
        if args and args[0] == word and not lost:
            lost.append(reply)
            raise StoreUnreachable("store: the connection was lost; try again")
        return reply

    monkeypatch.setattr(lab.store.wire, "command", command)


def test_one_key_cannot_mean_two_things(lab: Lab) -> None:
    """The second request is refused, and the first one's session named."""
    first = submit(lab, "k")

    with pytest.raises(KeyConflict, match=first.session_id):
        submit(lab, "k", text="another")


def test_a_submitter_that_died_poisons_no_key(lab: Lab) -> None:
    """Row W2: the key is reserved and no session is there; the next one creates that very session."""
    reserved = submit(lab, "k").session_id
    lab.run(lab.store.command("DEL", lab.key("record", reserved), lab.key("journal", reserved)))

    again = submit(lab, "k")

    assert again == Submitted(reserved, created=True)


def test_a_key_that_nobody_used_stands_for_whoever_uses_it(lab: Lab) -> None:
    """Its first submitter died before there was a session, and was told nothing; a trigger's second try may say something else."""
    reserved = submit(lab, "k").session_id
    lab.run(lab.store.command("DEL", lab.key("record", reserved), lab.key("journal", reserved)))

    other = submit(lab, "k", text="another")

    assert other == Submitted(reserved, created=True)
    assert submit(lab, "k", text="another") == Submitted(reserved, created=False)
    with pytest.raises(KeyConflict, match=reserved):
        submit(lab, "k")
    lab.run(lab.store.command("DEL", lab.key("record", reserved)))
    lab.run(lab.store.command("SET", lab.key("gone", reserved), "of another"))
    with pytest.raises(KeyConflict, match=reserved):  # it was archived
        submit(lab, "k", text="another")


def test_a_submitter_that_was_overtaken_under_its_key_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found the key of one that died; one session is created, and the other request is not that."""
    reserved = submit(lab, "k").session_id
    lab.run(lab.store.command("DEL", lab.key("record", reserved), lab.key("journal", reserved)))
    act = lab.store.act

    async def overtaken(name: str, session_id: str, *args: Any, critical: bool = False) -> Any:
        monkeypatch.undo()
        assert (await lab.intake.submit(draft(text="quicker"), PREFIX, key="k")).created
        return await act(name, session_id, *args, critical=critical)

    monkeypatch.setattr(lab.store, "act", overtaken)
    with pytest.raises(KeyConflict, match=reserved):
        submit(lab, "k", text="another")


def test_a_counter_that_was_set_back_takes_keys_to_new_sessions_too(lab: Lab) -> None:
    """A key that was not known before stands for no session of before."""
    before = {submit(lab, None).session_id for _ in range(3)}
    (counter,) = lab.run(every_key(lab, "baton:ids:*"))
    lab.run(lab.store.command("SET", counter, 0))

    forked, _ = lab.run(lab.intake.mint_once(PREFIX, APP, "d", key=None))
    assert forked not in before
    lab.run(lab.store.command("SET", counter, 0))
    first, again = submit(lab, "k"), submit(lab, "k")

    assert (first.created, again.created, first.session_id) == (True, False, again.session_id)
    assert first.session_id not in before


def lose(lab: Lab, session_id: str) -> None:
    """Lose a session, and what the counter of ids knew of it, as a failover of their servers may; the key lies on another one."""
    (counter,) = lab.run(every_key(lab, "baton:ids:*"))
    number = int(session_id.rpartition("-")[2])
    lab.run(lab.store.command("DEL", *(lab.key(name, session_id) for name in ("record", "journal", "context", "by"))))
    lab.run(lab.store.command("SET", counter, number - 1))


@pytest.mark.parametrize(("key", "text"), [(None, "hello"), ("another", "hello"), ("another", "else")])
def test_a_key_whose_session_was_lost_stands_for_nobody_elses(lab: Lab, key: str | None, text: str) -> None:
    """Its id is given again. Whoever repeats the request is neither refused nor told of the other one, whatever that was asked for."""
    lost = submit(lab, "k").session_id
    lose(lab, lost)
    other = submit(lab, key, text=text)
    assert other.session_id == lost
    assert lab.run(lab.intake.find(APP, "k")) is None

    mine, again = submit(lab, "k"), submit(lab, "k")

    assert (mine.created, again) == (True, Submitted(mine.session_id, created=False))
    assert mine.session_id != lost
    assert lab.run(lab.intake.find(APP, "k")) == mine.session_id
    assert lab.run(lab.views.count(APP, "ready")) == 2
    with pytest.raises(KeyConflict, match=mine.session_id):
        submit(lab, "k", text="something else")


def test_all_who_repeat_a_request_whose_session_was_lost_meet_at_one(lab: Lab) -> None:
    """Each finds that its session is another's, and one of them moves the key."""
    lost = submit(lab, "k").session_id
    lose(lab, lost)
    submit(lab, None)

    async def all_of_them() -> list[Submitted]:
        return list(await asyncio.gather(*(lab.intake.submit(draft(text="hello"), PREFIX, key="k") for _ in range(20))))

    told = lab.run(all_of_them())

    assert len({one.session_id for one in told}) == 1
    assert [one.created for one in told].count(True) == 1
    assert lab.run(lab.views.count(APP, "ready")) == 2


def test_a_key_that_was_moved_for_another_request_is_none_for_this(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ran out and was used again while somebody was about to move it."""
    lost = submit(lab, "k").session_id
    lose(lab, lost)
    submit(lab, None)
    act_on_key = lab.store.act_on_key

    async def overtaken(name: str, key: str, *args: Any, critical: bool = False) -> Any:
        monkeypatch.undo()
        await lab.store.command("DEL", key)
        assert (await lab.intake.submit(draft(text="quicker"), PREFIX, key="k")).created
        return await act_on_key(name, key, *args, critical=critical)

    monkeypatch.setattr(lab.store, "act_on_key", overtaken)
    with pytest.raises(KeyConflict):
        submit(lab, "k")


def test_a_fork_whose_session_was_lost_is_made_again(lab: Lab) -> None:
    """Under its key, and not where somebody else's session is by now."""
    lost, seconds = lab.run(lab.intake.mint_once(PREFIX, APP, "stamp", key="k"))
    fork = draft().model_copy(update={"session_id": lost})
    words: dict[str, Any] = {"rank": "1", "intents": {}, "messages": (), "data": {}, "stamp": "stamp"}
    assert lab.run(create_fork(lab.store, fork, **words, key="k", key_seconds=seconds))
    assert lab.run(lab.intake.mint_once(PREFIX, APP, "stamp", key="k")) == (lost, seconds)
    lose(lab, lost)
    submit(lab, None)

    again, _ = lab.run(lab.intake.mint_once(PREFIX, APP, "stamp", key="k"))

    assert again != lost
    assert lab.run(
        create_fork(lab.store, fork.model_copy(update={"session_id": again}), **words, key="k", key_seconds=9)
    )
    assert lab.run(lab.intake.find(APP, "k")) == again


def test_a_fork_whose_key_another_request_got_from_the_dead_is_a_conflict(lab: Lab) -> None:
    """The first to ask died before it made its fork; somebody else's is there when it is asked for again."""
    words: dict[str, Any] = {"rank": "1", "intents": {}, "messages": (), "data": {}, "key": "k"}
    first, seconds = lab.run(lab.intake.mint_once(PREFIX, APP, "A", key="k"))
    other, _ = lab.run(lab.intake.mint_once(PREFIX, APP, "B", key="k"))
    fork = draft().model_copy(update={"session_id": other})
    assert lab.run(create_fork(lab.store, fork, **words, stamp="B", key_seconds=seconds))
    assert first == other

    again, _ = lab.run(lab.intake.mint_once(PREFIX, APP, "A", key="k"))
    fork = fork.model_copy(update={"session_id": again})
    with pytest.raises(KeyConflict):
        lab.run(create_fork(lab.store, fork, **words, stamp="A", key_seconds=seconds))


def test_a_session_of_an_older_baton_is_its_keys_own(lab: Lab) -> None:
    """It says nothing of its key: the same request finds it, another one is refused."""
    first = submit(lab, "k")
    lab.run(lab.store.command("HDEL", lab.key("record", first.session_id), "key"))

    assert submit(lab, "k") == Submitted(first.session_id, created=False)
    assert lab.run(lab.intake.find(APP, "k")) == first.session_id
    with pytest.raises(KeyConflict):
        submit(lab, "k", text="another")


def test_a_counter_that_was_set_back_gives_nobody_anothers_session(lab: Lab) -> None:
    """On a cluster it may lie on a master that failed over, and the sessions on others: the same words are two sessions still."""
    before = [submit(lab, None) for _ in range(40)]
    (counter,) = lab.run(every_key(lab, "baton:ids:*"))
    lab.run(lab.store.command("SET", counter, 0))

    after = [submit(lab, None) for _ in range(3)]

    assert all(one.created for one in after)
    assert len({one.session_id for one in (*before, *after)}) == 43
    assert lab.run(lab.views.count(APP, "ready")) == 43


@pytest.mark.parametrize("what", ["submission", "fork"])
def test_whoever_is_told_of_a_session_relies_on_it_and_on_its_key(lab: Lab, what: str) -> None:
    """With `durability: wait` a failover takes neither: not the key alone, whose server may be another one than the session's."""
    store, confirmed = Store(lab.store.url, partitions=7, durability=Durability()), list[str]()

    async def confirm(run_id: str) -> bool:
        confirmed.append(run_id)
        return len(confirmed) != 1  # the first time nobody can say

    async def play() -> str:
        assert store._confirmer is not None
        store._confirmer.confirm = confirm  # type: ignore[method-assign]
        if what == "submission":
            done = await Intake(store).submit(draft(), PREFIX, key="k")
            assert (done.created, done.session_id) == (True, await Intake(store).find(APP, "k"))
        else:
            fork = draft().model_copy(update={"session_id": "SES-20260101-001"})
            assert await create_fork(store, fork, rank="1", intents={}, messages=(), data={}, stamp="s")
        await store.command("GET", idempotency_key(APP, "k"))
        of_key = store.wire.run_id
        await store.aclose()
        return of_key

    of_key = lab.run(play())

    # Its key where it has one, its app, itself, the first of them once more, of which nobody could say at first; and both once
    # more for whoever found the session by its key.
    assert len(confirmed) == (6 if what == "submission" else 3)
    assert what == "fork" or confirmed[:2] == [of_key, of_key]


async def every_key(lab: Lab, pattern: str) -> list[str]:
    """Return every key of that pattern, on whichever server it is."""
    return [str(key) for page in await ask_each(lab.store, "KEYS", pattern) for key in page]


def test_a_key_is_forgotten_in_time(lab: Lab) -> None:
    """Keys are bounded by their time to live, not kept for ever."""
    submit(lab, "k")

    assert 0 < lab.run(lab.store.command("TTL", idempotency_key(APP, "k"))) <= 86_400


@pytest.mark.parametrize("what", ["text", "state"])
def test_an_oversized_submission_leaves_nothing(lab: Lab, what: str) -> None:
    """Refused before a number is minted."""
    large = draft(text="x" * 1_001) if what == "text" else draft().model_copy(update={"state": {"x": "x" * 2_000}})

    with pytest.raises(PayloadTooLarge, match=what):
        lab.run(lab.intake.submit(large, PREFIX))

    assert lab.run(lab.store.command("DBSIZE")) == 0


def test_a_post_is_taken_once(lab: Lab) -> None:
    """The sender may repeat it for as long as it is not sure."""
    session_id = lab.submit()
    post = Post(post_id="p1", kind="signal", actor="al", name="go")

    assert [lab.run(lab.intake.post(session_id, post)) for _ in range(3)] == [True, False, False]
    assert len(lab.snapshot(session_id).mailbox) == 1


def test_a_full_mailbox_refuses_posts_but_not_a_cancel(lab: Lab) -> None:
    """A session that is flooded can still be stopped."""
    session_id = lab.submit()
    for number in range(3):
        lab.run(lab.intake.post(session_id, Post(post_id=f"p{number}", kind="signal", actor="al", name="go")))

    with pytest.raises(PayloadTooLarge, match="mailbox"):
        lab.run(lab.intake.post(session_id, Post(post_id="p3", kind="signal", actor="al", name="go")))
    assert lab.run(lab.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al", text="enough")))

    assert lab.snapshot(session_id).record["cancel"] == "enough"


def waiting(lab: Lab) -> str:
    """Return a session that waits for an answer."""
    session_id = lab.submit()
    claimed = lab.run(lab.leases.claim(session_id, "w:1", (DIGEST,)))
    assert isinstance(claimed, Claimed)
    fields = {"wait": '{"wait_id":"q1","kind":"input"}', "wait_id": "q1", "answered": ""}
    lab.commit(session_id, claimed.record.fence, claimed.record.rev, Commit("waiting", fields, (entry(),)))
    return session_id


def test_a_question_is_answered_once(lab: Lab) -> None:
    """Two people press the button: one of them is told that the other was quicker."""
    session_id = waiting(lab)
    answers = [Post(post_id=f"a{number}", kind="input", actor="al", wait_id="q1", text="x") for number in range(2)]

    assert lab.run(lab.intake.post(session_id, answers[0], answers="q1"))
    with pytest.raises(NotWaiting, match="answered already"):
        lab.run(lab.intake.post(session_id, answers[1], answers="q1"))


def test_an_answer_to_another_question_is_refused(lab: Lab) -> None:
    """What was asked has changed since the person looked."""
    session_id = waiting(lab)

    with pytest.raises(NotWaiting, match="does not wait for q0"):
        lab.run(lab.intake.post(session_id, Post(post_id="a", kind="input", actor="al", wait_id="q0"), answers="q0"))

    assert lab.snapshot(session_id).mailbox == []


def test_bad_posts_are_refused(lab: Lab) -> None:
    """No session, no id, too large: a clear error each, and nothing is changed."""
    session_id = lab.submit()
    before = lab.snapshot(session_id)
    post = Post(post_id="p", kind="signal", actor="al", name="go")

    with pytest.raises(SessionNotFound):
        lab.run(lab.intake.post("SES-20260101-404", post))
    with pytest.raises(InputError, match="id"):
        lab.run(lab.intake.post(session_id, post.model_copy(update={"post_id": ""})))
    with pytest.raises(PayloadTooLarge):
        lab.run(lab.intake.post(session_id, post.model_copy(update={"text": "x" * 1_001})))

    assert lab.snapshot(session_id) == before


def test_a_post_is_found_among_those_of_its_millisecond(lab: Lab) -> None:
    """Whoever asks under a key that stands for it is told apart, also where more came at one time than are looked through at once."""
    session_id = submit(lab, None).session_id
    journal, seen, record = (lab.key(name, session_id) for name in ("journal", "seen", "record"))
    for number in range(2, POSTS_AT_ONCE + 4):  # one of before, then more than are looked through, all at one time
        post = Post(post_id=f"p{number}", kind="signal", actor="ada", name="go")
        told = Entry(kind="posted", actor="ada", data={"post": post.model_dump(mode="json")}).to_json()
        at = 1_000 + min(number, 3)
        lab.run(lab.store.command("XADD", journal, f"{number}-0", "a", at, "e", told))
        lab.run(lab.store.command("ZADD", seen, at, post.post_id))
    lab.run(lab.store.command("HSET", record, "seq", POSTS_AT_ONCE + 3))
    lab.run(lab.store.command("XDEL", journal, "1-0"))  # which is of today

    def find(number: int) -> str | None:
        found = lab.run(lab.intake.find_post(session_id, f"p{number}"))
        return found.post_id if found is not None else None

    last = 2 + POSTS_AT_ONCE
    assert [find(number) for number in (2, 3, last, last + 1)] == ["p2", "p3", f"p{last}", f"p{last + 1}"]
    assert find(last + 2) is None


def test_a_post_is_found_after_the_servers_clock_went_back(lab: Lab) -> None:
    """The times of a journal are in no order then: a key that was used would count as new words, and what it says now as heard."""
    session_id = submit(lab, None).session_id
    journal, seen, record = (lab.key(name, session_id) for name in ("journal", "seen", "record"))
    numbers = range(2, 2 * POSTS_AT_ONCE + 10)
    for number in numbers:
        post = Post(post_id=f"p{number}", kind="signal", actor="ada", name="go")
        told = Entry(kind="posted", actor="ada", data={"post": post.model_dump(mode="json")}).to_json()
        at = 9_000_000_000_000 + 1_000 * number if number < 12 else 8_000_000_000_000 + number
        lab.run(lab.store.command("XADD", journal, f"{number}-0", "t", at, "e", told if number != 20 else "{"))
        lab.run(lab.store.command("ZADD", seen, 9_000_000_000_000 + 1_000 * min(number, 12) + number, post.post_id))
    lab.run(lab.store.command("HSET", record, "seq", numbers[-1]))

    found = [lab.run(lab.intake.find_post(session_id, f"p{number}")) for number in numbers]

    assert [None if post is None else post.post_id for post in found] == [
        f"p{number}" if number != 20 else None  # of which the journal can say nothing
        for number in numbers
    ]


def test_only_a_dead_letter_is_replayed(lab: Lab) -> None:
    """A session that lives is not to be sent again by mistake, and an unknown one is named as unknown."""
    session_id = lab.submit()

    with pytest.raises(PhaseRefused, match="ready"):
        lab.run(lab.intake.replay(session_id, "al"))
    with pytest.raises(SessionNotFound):
        lab.run(lab.intake.replay("SES-20260101-404", "al"))


def test_a_letter_that_somebody_was_quicker_to_send_again_is_not_taken_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people send it; the session went on and died of something else: from the old place it would do all that anew."""
    session_id, act, quicker = lab.submit(), lab.store.act, list[str]()
    far = Cursor(skill="work", serial=7).to_json()

    async def run_and_die(fields: dict[str, str]) -> None:
        held = await lab.leases.claim(session_id, "w:1", (DIGEST,), known=0, alone=True)
        assert isinstance(held, Claimed)
        told = entry(set={**fields, "phase": "dead", "reason": "why"})
        commit = Commit("dead", fields, (told,), reason="why", status="so")
        await lab.leases.commit(session_id, held.record.fence, held.record.rev, commit)

    async def late(name: str, session_id: str, *args: Any, **more: Any) -> Any:
        if name == "replay" and not quicker:
            quicker.append("bob")
            await lab.intake.replay(session_id, "bob")
            await run_and_die({"cursor": far})
        return await act(name, session_id, *args, **more)

    lab.run(run_and_die({}))
    monkeypatch.setattr(lab.store, "act", late)
    with pytest.raises(PhaseRefused, match=r"it was sent again meanwhile and has died again; look at it, then replay$"):
        lab.run(lab.intake.replay(session_id, "al"))
    refused = lab.snapshot(session_id).record
    lab.run(lab.intake.replay(session_id, "al"))
    replayed = lab.snapshot(session_id).record

    assert (refused["phase"], refused["replays"], Cursor.from_json(refused["cursor"]).serial) == ("dead", "1", 7)
    assert (replayed["phase"], replayed["replays"], Cursor.from_json(replayed["cursor"]).serial) == ("ready", "2", 7)


def test_a_dead_letter_that_cannot_be_read_says_so_when_it_is_replayed(lab: Lab) -> None:
    """A person gets the reason, not a stack of calls."""
    session_id = lab.submit()
    lab.run(lab.store.command("HSET", lab.key("record", session_id), "cursor", "{", "phase", "dead"))

    with pytest.raises(Unreadable, match="cursor"):
        lab.run(lab.intake.replay(session_id, "al"))


def test_text_that_no_encoding_carries_is_refused_before_anything_is_made(lab: Lab) -> None:
    """A terminal hands over bytes that are no UTF-8 as such text: its user is told, and the session goes on."""
    there = submit(lab, None).session_id
    bad = [
        draft(text="\udcff"),
        draft(text="fine").model_copy(update={"state": {"a": "\ud800"}}),
        draft(text="fine").model_copy(update={"actor": "\udcff"}),
    ]
    before = lab.run(lab.store.command("DBSIZE"))

    for one in bad:
        with pytest.raises(InputError, match=r"^submission: it holds text that is no UTF-8; write it in UTF-8$"):
            lab.run(lab.intake.submit(one, PREFIX, key="k"))
    for saying in (
        lab.intake.submit(draft(), PREFIX, key="\udcff"),
        lab.intake.mint_once(PREFIX, APP, "stamp", key="\udcff"),
    ):
        with pytest.raises(InputError, match=r"^idempotency key: it holds text that is no UTF-8; write it in UTF-8$"):
            lab.run(saying)
    with pytest.raises(InputError, match=rf"^session {there}: post: it holds text that is no UTF-8"):
        lab.run(lab.intake.post(there, Post(post_id="p", kind="signal", actor="ada", name="go", value=["\udcff"])))
    assert lab.run(lab.store.command("DBSIZE")) == before


def test_each_post_is_counted_once(lab: Lab) -> None:
    """A dashboard shows how many answers, signals and cancels come; one that was sent twice is one."""
    session_id = lab.submit()
    for name in ("a", "b", "b"):
        lab.run(lab.intake.post(session_id, Post(post_id=name, kind="signal", actor="al", name="go")))

    assert lab.run(lab.views.stats())["posted"] == 2


@pytest.mark.parametrize("kind", ["signal", "cancel"])
def test_only_a_cancel_is_called_out_to_whoever_holds_a_session(lab: Lab, kind: str) -> None:
    """Every worker listens there: a call for each post would be a storm, and one that is missing a cancel that comes late."""
    session_id, heard = lab.submit(), list[str]()

    async def listen_and_post() -> None:
        wire, is_over = open_wire(lab.store.url), asyncio.Event()

        def hear(word: str) -> None:
            heard.append(word)
            if word == "the end":
                is_over.set()

        await wire.subscribe(CANCELS, hear)
        await lab.intake.post(session_id, Post(post_id="p", kind=kind, actor="al"))  # type: ignore[arg-type]
        await lab.store.command("PUBLISH", CANCELS, "the end")
        await asyncio.wait_for(is_over.wait(), 10)
        await wire.aclose()

    lab.run(listen_and_post())

    assert heard == [*([session_id] if kind == "cancel" else []), "the end"]


def test_a_dead_letter_that_a_newer_baton_wrote_is_told_as_that(lab: Lab) -> None:
    """Who sends it again with an older one must not mend or remove what is sound."""
    session_id = lab.submit()
    cursor = '{"skill":"s","mood":"fine"}'
    for written, advice in (("99", r"a newer Baton wrote it \(format 99, .*use that one"), ("1", "mend or remove it")):
        lab.run(lab.store.command("HSET", lab.key("record", session_id), "cursor", cursor, "format", written))
        with pytest.raises(Unreadable, match=advice):
            lab.run(lab.intake.replay(session_id, "ada"))
