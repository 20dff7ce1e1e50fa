"""What the acts share, exactly: where a session stands in line, and that none begins on a record that it could not finish on."""

from typing import Any

import pytest

from orchestrator.contracts.session import Post
from orchestrator.store.leases import Claimed, Commit
from orchestrator.store.wire import ServerRefused
from tests.property.store_lab import DIGEST, Lab, entry


def everything(lab: Lab) -> dict[str, Any]:
    """Return all that the server holds, key by key."""

    async def read() -> dict[str, Any]:
        keys = sorted(await lab.store.command("KEYS", "*"))
        return {key: await lab.store.command("DUMP", key) for key in keys}

    return lab.run(read())


@pytest.mark.parametrize(("priority", "rank"), [("high", "!0"), ("normal", "!1"), ("low", "!2")])
def test_who_is_asked_to_stop_stands_in_front_by_its_own_rank(one: Lab, priority: str, rank: str) -> None:
    """Of many that are cancelled at once, the urgent ones stop first."""
    session_id = one.submit(priority=priority)
    one.run(one.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al")))

    now = one.snapshot(session_id)
    assert now.record["rank"] == rank
    assert [member.split(":")[1:3] for member in now.members] == [["ready", rank]]


def test_a_rank_that_says_nothing_is_an_ordinary_one(one: Lab) -> None:
    """A session that somebody mended by hand can be stopped as well."""
    session_id = one.submit()
    [before] = one.snapshot(session_id).members
    one.run(one.store.command("ZREM", one.key("by", session_id), before))
    one.run(one.store.command("HSET", one.key("record", session_id), "rank", "x"))
    one.run(one.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al")))

    assert one.snapshot(session_id).record["rank"] == "!1"


TEXTS, NUMBERS = ("app", "rank", "spec", "status"), ("since", "seq", "rev", "fence", "attempts")


@pytest.mark.parametrize(
    ("field", "is_there"), [*((one, False) for one in (*TEXTS, *NUMBERS)), *((one, True) for one in NUMBERS)]
)
def test_no_act_begins_on_a_record_that_lacks_what_it_needs(one: Lab, field: str, is_there: bool) -> None:
    """Lua errors are not rolled back: whoever found it out half-way would leave a session in two places, or in none."""
    session_id = one.submit()
    held = one.run(one.leases.claim(session_id, "w:1", (DIGEST,), known=0))
    assert isinstance(held, Claimed)
    fence, rev = held.record.fence, held.record.rev
    key = one.key("record", session_id)
    one.run(one.store.command(*(("HSET", key, field, "x") if is_there else ("HDEL", key, field))))
    one.expire_lease(session_id)
    post = ("p", "{}", entry("posted"), "", 3, "", "bell", "cancels", 0, 1)
    acts: dict[str, tuple[Any, ...]] = {
        "claim": ("w:2", 60_000, 3, 0, 0, 0, 1, DIGEST),
        "post": post,
        "rescue": (),
        "replay": (entry("replayed"), "bell", "{}", 1, "r1", rev),
    }
    if field not in {"fence", "rev"}:  # what is compared with them first is stale
        acts["release"] = (fence,)
    if field not in {"fence", "rev", "attempts"}:  # a commit begins the count of attempts anew, whatever it was
        acts["commit"] = (fence, rev, "ready", -1, 0, "", "", 9, 9, 0, 1, 0, 0, 0, 0, 0, entry())
    before = everything(one)

    for name, words in acts.items():
        with pytest.raises(ServerRefused):
            one.run(one.store.act(name, session_id, *words))
    assert everything(one) == before


def test_posts_and_steps_leave_no_gap_in_a_journal(one: Lab) -> None:
    """Entries are numbered one by one, whoever writes them: a number that is missing reads as an entry that was lost."""
    session_id = one.submit()
    held = one.run(one.leases.claim(session_id, "w:1", (DIGEST,), known=0))
    assert isinstance(held, Claimed)
    for number in range(2):
        one.run(one.intake.post(session_id, Post(post_id=f"p{number}", kind="signal", actor="al", name="go")))
        made = Commit("continue", {"state": f'{{"n":{number}}}'}, (entry(),))
        assert made.only_advances
        one.commit(session_id, held.record.fence, number, made)

    now = one.snapshot(session_id)
    assert [number for number, _ in now.journal] == ["1-0", "2-0", "3-0", "4-0", "5-0"]
    assert (now.record["seq"], now.record["rev"], now.record["posts"]) == ("5", "2", "2")


def test_who_lacks_the_version_lets_the_session_be_sent_again_soon_and_not_at_once(one: Lab) -> None:
    """Its mark is shortened to half a second: another worker gets it then, and this one not over and over."""
    session_id = one.submit()
    one.run(one.store.command("ZADD", one.key("sent", session_id), 9_000_000_000_000, session_id))
    before = one.run(one.store.now_ms())
    one.run(one.leases.claim(session_id, "w:1", ("other",)))

    sent = one.snapshot(session_id).sent
    assert sent is not None
    assert before + 500 <= sent <= one.run(one.store.now_ms()) + 500
